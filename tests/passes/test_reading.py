"""Rotations and arrangements of heads in all their spellings, before and after they are raised."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ingot.ir import Module
from ingot.passes import Sample, parse_pipeline, verifying

from .tracing import VOCABULARY, traced

H, D = 3, 8
SAMPLE = Sample(
    torch.randint(VOCABULARY, (9,), generator=torch.Generator().manual_seed(5)), (0, 4, 9)
)

Forward = Callable[["Layer", Tensor, Tensor], Tensor]


class Layer(nn.Module):
    """Runs `function(self, x, positions)` between heads `[1, H, T, D]` and features `[1, T, F]`."""

    def __init__(self, function: Forward, rotary: int) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("inv_freq", 100.0 ** -(torch.arange(0, rotary, 2) / rotary))
        self.head = nn.Linear(H * D, 5)

    inv_freq: Tensor

    def angles(self, positions: Tensor) -> Tensor:
        return positions[..., None].float() * self.inv_freq

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        heads = x.view(1, -1, H, D).transpose(1, 2)
        turned = self.function(self, heads, positions)
        result = self.head(turned.transpose(1, 2).reshape(1, -1, H * D))
        assert isinstance(result, Tensor)
        return result


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def doubled(layer: Layer, positions: Tensor) -> tuple[Tensor, Tensor]:
    angles = layer.angles(positions)
    angles = torch.cat([angles, angles], -1).unsqueeze(1)
    return angles.cos(), angles.sin()


def by_halves(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    cos, sin = doubled(layer, positions)
    return turn(x, cos * 1.5, sin * 1.5)


def first_part(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return torch.cat([turn(x[..., :4], *doubled(layer, positions)), x[..., 4:]], -1)


def last_part(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    passed, turned = torch.split(x, [4, 4], -1)
    return torch.cat([passed, turn(turned, *doubled(layer, positions))], -1)


def interleaved(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    angles = layer.angles(positions).repeat_interleave(2, -1).unsqueeze(1)
    half_turn = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * angles.cos() + half_turn * angles.sin()


def by_complex_numbers(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    angles = layer.angles(positions)
    wave = torch.polar(torch.ones_like(angles), angles)[:, None]
    pairs = torch.view_as_complex(x.reshape(1, H, -1, D // 2, 2))
    return torch.view_as_real(pairs * wave).flatten(3)


def neighbours_to_halves(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    halves = x.view(1, H, -1, D // 2, 2).transpose(4, 3).reshape(1, H, -1, D)
    return turn(halves, *doubled(layer, positions))


def each_half_alone(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    angles = layer.angles(positions).unsqueeze(1)
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def backwards(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    cos, sin = doubled(layer, positions)
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([second, -first], -1) * sin


def shared_part(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    key = turn(x[:, :1, :, :4], *doubled(layer, positions)).expand(-1, H, -1, -1)
    joined = x.new_empty(x.shape)
    joined[..., :4] = x[..., 4:]
    joined[..., 4:] = key
    return joined


ROTATIONS: dict[str, tuple[Forward, int, list[str], str]] = {
    "by halves": (by_halves, 8, ["rope"], "scale = 1.5"),
    "the first part": (first_part, 4, ["rope"], "offset = 0"),
    "the last part": (last_part, 4, ["rope"], "offset = 4"),
    "interleaved": (interleaved, 8, ["rope"], "interleaved = true"),
    "backwards": (backwards, 8, ["scale", "rope"], "interleaved = false"),
    "by complex numbers": (by_complex_numbers, 8, ["rope"], "interleaved = true"),
    "from neighbours to halves": (neighbours_to_halves, 8, ["arrange", "rope"], "heads = 3"),
    "each half alone": (each_half_alone, 8, ["rope"], "interleaved = false"),
    "one head for all": (shared_part, 4, ["slice", "rope", "arrange"], "heads = 1"),
}


def ops_in(module: Module) -> list[str]:
    """Return the ops of the step but for weights, the embedding and the last linear."""
    names = re.findall(r'"lm\.(\w+)"', str(module.step))
    return [name for name in names if name not in ("weight", "embedding", "linear", "transpose")]


def raised(layer: nn.Module, features: int, pipeline: str) -> Module:
    """Return the traced layer after `pipeline`, each pass of which must keep its contract."""
    module, weights = traced(layer, features)
    parse_pipeline(pipeline).run(module, verifying(weights, SAMPLE))
    return module


@pytest.mark.parametrize("case", ROTATIONS)
def test_rotations_are_raised_however_they_are_spelled(case: str) -> None:
    function, rotary, expected, attribute = ROTATIONS[case]
    module = raised(Layer(function, rotary), H * D, "raise,canonicalize")
    text = str(module.step)
    assert "torch" not in text
    assert ops_in(module) == expected
    assert attribute in re.sub(r"(\d)\.?0*e\+00", r"\1", text.replace("1.500000e", "1.5e"))


@pytest.mark.parametrize("case", [case for case in ROTATIONS if "complex" not in case])
def test_rotations_stay_right_without_their_pattern(case: str) -> None:
    function, rotary, *_ = ROTATIONS[case]
    module = raised(Layer(function, rotary), H * D, "raise{without=rope},canonicalize,outline")
    assert "call @remainder" in str(module.step)


def twice_the_sine(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    cos, sin = doubled(layer, positions)
    return turn(x, cos, sin * 2)


def other_frequencies(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    angles = layer.angles(positions).flip(-1)
    angles = torch.cat([angles, angles], -1).unsqueeze(1)
    return turn(x, angles.cos(), angles.sin())


def of_some_heads(layer: Layer, x: Tensor, positions: Tensor) -> Tensor:
    return torch.cat([turn(x[:, :2], *doubled(layer, positions)), x[:, 2:]], 1)


@pytest.mark.parametrize("function", [twice_the_sine, other_frequencies])
def test_what_is_no_rotation_stays_in_torch(function: Forward) -> None:
    module = raised(Layer(function, 8), H * D, "raise,canonicalize,outline")
    assert ops_in(module) == []
    assert "call @remainder" in str(module.step)


def test_a_rotation_of_some_heads_is_computed_right() -> None:
    raised(Layer(of_some_heads, 8), H * D, "raise,canonicalize,outline")
