"""Divides layers among the stages of a pipeline: runs of layers, balanced by their bytes."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from ingot.errors import UsageError
from ingot.ir import (
    Block,
    Mesh,
    Op,
    OpView,
    bytes_of,
    is_per_token,
    is_weight_expression,
    shape_of,
)
from ingot.passes.core import ops_of
from ingot.passes.sharding.propagation import is_weight
from ingot.passes.sharding.stages import set_stage

AXIS = "pp"


def choose_stages(block: Block, mesh: Mesh) -> None:
    """Write the stage of every operation that is no weight.

    A stage begins where the fewest features cross between one layer's attention and the next's: at
    the residual stream.  The embedding belongs to the first stage, the head to the last.
    """
    stages = mesh.size(AXIS)
    if stages == 1:
        return
    ops = [op for op in ops_of(block) if not is_weight(op)]
    cuts = _boundaries(ops)
    if len(cuts) + 1 < stages:
        raise UsageError(
            f"cannot divide {len(cuts) + 1} layers among {stages} stages",
            where=f"mesh {mesh}",
            hint=f"Take pp of {len(cuts) + 1} at most.",
        )
    starts = _starts(ops, cuts, stages)
    for index, op in enumerate(ops):
        set_stage(op, sum(index >= start for start in starts))


def _boundaries(ops: Sequence[OpView]) -> list[int]:
    """Return for each layer but the first the index of its first operation."""
    layers: dict[int, list[int]] = {}
    for index, op in enumerate(ops):
        if isinstance(op, Op) and "layer" in op.attributes:
            layers.setdefault(int(op.attributes["layer"].value), []).append(index)
    crossing = _crossing(ops)
    found = []
    for before, after in pairwise(layers.values()):
        # The last of the narrowest places: what follows attention belongs to its layer.
        places = range(before[-1] + 1, after[0] + 1)
        if places:
            found.append(min(places, key=lambda place: (crossing[place], -place)))
    return found


def _crossing(ops: Sequence[OpView]) -> list[int]:
    """Return how many features cross between the operations before each index and those after."""
    change = [0] * (len(ops) + 1)
    last = {value: index for index, op in enumerate(ops) for value in op.operation.operands}
    for index, op in enumerate(ops):
        for value in op.operation.results:
            if value in last and is_per_token(value):
                width = shape_of(value)[-1] if len(shape_of(value)) > 1 else 1
                change[index + 1] += width
                change[last[value] + 1] -= width
    total, found = 0, []
    for one in change:
        total += one
        found.append(total)
    return found


def _starts(ops: Sequence[OpView], cuts: Sequence[int], stages: int) -> list[int]:
    """Return where each stage but the first begins: so that the heaviest is as light as can be."""
    sections = list(pairwise([0, *cuts, len(ops)]))
    sizes = [_bytes(ops[first:end]) for first, end in sections]

    @cache
    def best(first: int, left: int) -> tuple[float, tuple[int, ...]]:
        """Return the heaviest of `left` stages over the sections from `first`, and their ends."""
        if left == 1:
            return sum(sizes[first:]), ()
        options = []
        for end in range(first + 1, len(sizes) - left + 2):
            heaviest, ends = best(end, left - 1)
            options.append((max(sum(sizes[first:end]), heaviest), (end, *ends)))
        return min(options)

    return [sections[end][0] for end in best(0, stages)[1]]


def _bytes(ops: Sequence[OpView]) -> float:
    """Return the bytes of the weights that operations read, each once, as they will be stored."""
    read = {
        operand for op in ops for operand in op.operation.operands if is_weight_expression(operand)
    }
    return sum(bytes_of(value, 0) for value in read)
