"""What numbers the tokens of a traced model becomes their positions."""

from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.export import Dim, export

from ingot.models.tracing.numbering import number_by_positions

LENGTH = 10


class Numbered(nn.Module):
    """A function of tokens and positions, `[1, T]`."""

    def __init__(self, numbers: Any) -> None:
        super().__init__()
        self._numbers = numbers

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        numbers = self._numbers(tokens)
        assert isinstance(numbers, Tensor)
        return tokens + numbers + 0 * positions


def traced(numbers: Any) -> fx.Graph:
    inputs = tuple(torch.zeros(1, LENGTH, dtype=torch.long) for _ in range(2))
    count = Dim("T", min=2, max=99)
    program = export(
        Numbered(numbers), inputs, dynamic_shapes=({1: count}, {1: count}), strict=False
    )
    graph: fx.Graph = program.run_decompositions({}).graph
    number_by_positions(graph, graph.find_nodes(op="placeholder")[1])
    graph.eliminate_dead_code()
    return graph


NUMBERINGS = {
    "range": lambda x: torch.arange(x.shape[1]),
    "row": lambda x: torch.arange(x.shape[1]).unsqueeze(0),
    "from two": lambda x: torch.arange(2, x.shape[1] + 2),
    "floats": lambda x: torch.arange(x.shape[1], dtype=torch.float32),
    "sum of ones": lambda x: torch.ones_like(x).cumsum(1),
    "sum of a made one": lambda x: torch.ones(1, x.shape[1], dtype=torch.int32).cumsum(-1),
}


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("name", NUMBERINGS)
def test_numbers_follow_the_positions(name: str) -> None:
    """From position 0 the graph computes what the model does; later, the same moved on."""
    graph = traced(NUMBERINGS[name])
    function = fx.GraphModule({}, graph)
    tokens = torch.full((1, 6), 7)
    expected = tokens + NUMBERINGS[name](tokens)
    for first in (0, 30):
        (found,) = function(tokens, torch.arange(first, first + 6).unsqueeze(0))
        torch.testing.assert_close(found, expected + first)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_other_ranges_stay() -> None:
    """One of a fixed length says nothing of tokens; one of every second says something else."""
    graph = traced(lambda x: torch.arange(3).sum() + torch.arange(0, 2 * x.shape[1], 2))
    kept = [node for node in graph.nodes if "arange" in str(node.target)]
    assert len(kept) == 2
