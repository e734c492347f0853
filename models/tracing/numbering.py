"""Lets a traced model number its tokens by their positions, not by where they stand in the step.

A model is traced as a function of one sequence that begins at position 0.  There a range over the
tokens, or a running sum of ones, is the same as the positions that the step is given; only the
latter stay right where sequences are concatenated, or continue.
"""

from typing import Any

import torch
from torch import fx

_RANGES = (
    torch.ops.aten.arange.default,
    torch.ops.aten.arange.start,
    torch.ops.aten.arange.start_step,
)


def number_by_positions(graph: fx.Graph, positions: fx.Node) -> None:
    """Replace what numbers the tokens by the placeholder `positions`, `[1, T]` int64."""
    for node in list(graph.nodes):
        if node.target in _RANGES:
            _replace_range(node, positions)
        elif node.target is torch.ops.aten.cumsum.default:
            _replace_sum(node, positions)


def _replace_range(node: fx.Node, positions: fx.Node) -> None:
    first, end = node.args[:2] if len(node.args) > 1 else (0, node.args[0])
    if len(node.args) > 2 and node.args[2] != 1:
        return
    if not isinstance(first, int) or not _is_count(_value(end) - first, positions):
        return
    with node.graph.inserting_before(node):
        row = _call(torch.ops.aten.select.int, positions, 0, 0)
        numbers = _shifted(row, first, node.meta["val"].dtype)
    _substitute(node, numbers)


def _replace_sum(node: fx.Node, positions: fx.Node) -> None:
    """Replace the running sum of ones `[1, T]` along the tokens by positions + 1."""
    ones, dim = node.args[:2]
    if not isinstance(ones, fx.Node) or not _is_ones(ones) or dim not in (1, -1):
        return
    shape = ones.meta["val"].shape
    if len(shape) != 2 or shape[0] != 1 or not _is_count(shape[1], positions):
        return
    with node.graph.inserting_before(node):
        numbers = _shifted(positions, 1, node.meta["val"].dtype)
    _substitute(node, numbers)


def _is_ones(node: fx.Node) -> bool:
    if node.target is torch.ops.aten._to_copy.default:
        (node,) = node.all_input_nodes
    if node.target in (torch.ops.aten.full.default, torch.ops.aten.full_like.default):
        return bool(node.args[1] == 1)
    return node.target in (torch.ops.aten.ones.default, torch.ops.aten.ones_like.default)


def _value(argument: Any) -> Any:
    return argument.meta["val"] if isinstance(argument, fx.Node) else argument


def _is_count(size: Any, positions: fx.Node) -> bool:
    """Return whether a symbolic size is the number of tokens."""
    count = positions.meta["val"].shape[1]
    return isinstance(size, torch.SymInt) and bool(size.node.expr == count.node.expr)


def _shifted(numbers: fx.Node, by: int, dtype: torch.dtype) -> fx.Node:
    if by:
        numbers = _call(torch.ops.aten.add.Tensor, numbers, by)
    if dtype is not torch.int64:
        numbers = _call(torch.ops.aten._to_copy.default, numbers, dtype=dtype)
    return numbers


def _call(target: Any, *args: Any, **options: Any) -> fx.Node:
    """Insert a call, with the value that tells its type."""
    graph = args[0].graph
    node: fx.Node = graph.call_function(target, args, options)
    node.meta["val"] = target(*map(_value, args), **options)
    return node


def _substitute(node: fx.Node, numbers: fx.Node) -> None:
    for new in (numbers, *numbers.all_input_nodes):
        if new.op == "call_function":
            for key in ("nn_module_stack", "stack_trace"):
                if key in node.meta:
                    new.meta[key] = node.meta[key]
    for user in list(node.users):
        # A row of positions that becomes `[1, T]` again needs no detour.
        row = numbers.target is torch.ops.aten.select.int
        if row and user.target is torch.ops.aten.unsqueeze.default and user.args[1] == 0:
            user.replace_all_uses_with(numbers.all_input_nodes[0])
            node.graph.erase_node(user)
    node.replace_all_uses_with(numbers)
    node.graph.erase_node(node)
