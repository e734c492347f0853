"""Merges the linears that read one activation: Q, K and V, gate and up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from ingot.ir import (
    Block,
    Concat,
    Linear,
    Module,
    Slice,
    Value,
    before,
    encoding_of,
    fused_location,
    logical_type,
    shape_of,
)

from .core import EXACT, Contract, Pass, blocks, erase_dead, hoist_weights, ops_of, replace

MOST_PARTS = 8


@dataclass(frozen=True)
class MergeLinears(Pass):
    """Make one linear of those with one input and one encoding, and slice its result."""

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        for block in blocks(module):
            groups = [group for group in _groups(block) if len(group) > 1]
            if groups:
                hoist_weights(block)
            for group in groups:
                for start in range(0, len(group), MOST_PARTS):
                    _merge(group[start : start + MOST_PARTS])
            erase_dead(block)


def _groups(block: Block) -> list[list[Linear]]:
    """Return the linears of `block` by what they must share: input, kind of weight, having a bias.

    A weight with another reader stays alone, since merging would store it twice.
    """
    groups: dict[tuple[object, ...], list[Linear]] = {}
    for op in ops_of(block):
        if isinstance(op, Linear) and len(list(op.w.uses)) == 1:
            bias = None if op.bias is None else logical_type(op.bias).element_type
            key = (op.x, encoding_of(op.w), logical_type(op.w).element_type, bias)
            groups.setdefault(key, []).append(op)
    return list(groups.values())


def _merge(group: Sequence[Linear]) -> None:
    """Replace `group` by one linear, at the place of the first."""
    if len(group) == 1:
        return
    sizes = [shape_of(op.w)[0] for op in group]
    with before(group[0]), fused_location(op.location for op in group):
        weight = Concat([op.w for op in group]).out
        biases: list[Value] = [op.bias for op in group if op.bias is not None]
        bias = Concat(biases).out if biases else None
        merged = Linear(group[0].x, weight, bias).out
        offsets = accumulate(sizes[:-1], initial=0)
        parts = [
            Slice(merged, offset=offset, size=size, loc=op.location).out
            for op, offset, size in zip(group, offsets, sizes, strict=True)
        ]
    for op, part in zip(group, parts, strict=True):
        replace(op, part)
