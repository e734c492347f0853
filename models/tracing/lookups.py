"""Lets a traced model look positions up in a table as it looks tokens up: by an embedding."""

import torch
from torch import fx


def look_up_by_embedding(graph: fx.Graph, indices: tuple[fx.Node, ...]) -> None:
    """Make `table[indices]`, of a matrix and a placeholder, an embedding of the same value.

    The placeholders hold tokens or positions, which are never negative: an embedding does not count
    from the end, as indexing does.
    """
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.index.Tensor):
        table, places = node.args
        matrix = isinstance(table, fx.Node) and table.meta["val"].dim() == 2
        if matrix and isinstance(places, list | tuple) and list(places) in [[i] for i in indices]:
            node.target = torch.ops.aten.embedding.default
            node.args = (table, places[0])
