"""Features in another order: parts of heads split off, joined and repeated."""

from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from hashlib import sha256

from ingot.ir import Piece
from ingot.targets.cpu.build import F32, Pointer, loop, splat
from ingot.targets.cpu.kernel import Arguments, Kernel
from ingot.targets.cpu.levels import Level

from .elementwise_groups import GROUP, each_group, rows_of
from .rounding import strided_slots, symbol


def arrange_kernel(heads: int, pieces: Sequence[Piece]) -> Kernel:
    """`lm.arrange`.  A unit is a row.

    Slots: x0, x0_stride, … for each operand that pieces name, y, y_stride; strides in bytes.
    """
    operands = 1 + max(piece.operand for piece in pieces)
    slots = strided_slots(*(f"x{index}" for index in range(operands)), "y")
    width = heads * sum(piece.size for piece in pieces)
    digest = sha256(repr([astuple(piece) for piece in pieces]).encode()).hexdigest()[:12]
    return Kernel(symbol("arrange", heads, width, digest), slots, partial(_body, heads, pieces))


def _body(heads: int, pieces: Sequence[Piece], level: Level, arguments: Arguments) -> None:
    head_size = sum(piece.size for piece in pieces)
    with rows_of(arguments) as rows:
        y = rows.row("y")
        place = 0
        for piece in pieces:
            x = rows.row(f"x{piece.operand}").at(4 * piece.offset)
            with loop(0, heads) as each:
                source = x.at(each.index * (4 * piece.stride))
                _copy(piece, source, y.at(each.index * (4 * head_size)).at(4 * place))
            place += piece.size


def _copy(piece: Piece, x: Pointer, y: Pointer) -> None:
    """Write the piece of one head to `y`."""
    if piece.step == 1:
        each_group(piece.size, lambda group: group.store(y, group.load(x)))
    elif piece.step == 0:
        value = splat(x.load(F32), GROUP)
        each_group(piece.size, lambda group: group.store(y, value))
    else:
        with loop(0, piece.size) as features:
            value = x.load(F32, features.index * (4 * piece.step))
            y.store(value, features.index * 4)
