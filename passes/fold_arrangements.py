"""Lets linears make their outputs in the order in which they are read."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import (
    Arrange,
    ArrangeRows,
    Linear,
    Module,
    Piece,
    Slice,
    Value,
    before,
    columns_of,
    parse_pieces,
    shape_of,
)

from .core import EXACT, Contract, Pass, blocks, erase_dead, ops_of, replace, users


@dataclass(frozen=True)
class FoldArrangements(Pass):
    """Arrange the rows of a linear's weight instead of what the linear makes of them.

    A fused projection whose heads hold queries, keys and values, or whose pairs for the rotation
    are neighbours, so becomes plain linears of one input, which `merge-linears` joins again.
    """

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        for block in blocks(module):
            for op in ops_of(block):
                if isinstance(op, Linear) and _may_fold(op):
                    _fold(op)
            erase_dead(block)


def _may_fold(op: Linear) -> bool:
    """Return whether arrangements of it alone read the result, and repeat nothing of it."""
    readers = users(op.out)
    plain = all(isinstance(one, Slice | Arrange) and len(one.operands) == 1 for one in readers)
    if not plain or not any(isinstance(one, Arrange) for one in readers):
        return False
    made = sum(columns_of(one.out) for one in readers)
    return made <= shape_of(op.w)[0] and len(list(op.w.uses)) == 1


def _fold(op: Linear) -> None:
    for reader in users(op.out):
        if isinstance(reader, Arrange):
            heads, pieces = reader.heads, parse_pieces(reader.pieces)
        else:
            assert isinstance(reader, Slice)
            heads, pieces = 1, (Piece(0, reader.offset, 0, 1, reader.size),)
        with before(op):
            w = ArrangeRows(op.w, heads=heads, pieces=pieces).out
            bias: Value | None = None
            if op.bias is not None:
                bias = ArrangeRows(op.bias, heads=heads, pieces=pieces).out
            replace(reader, Linear(op.x, w, bias).out)
