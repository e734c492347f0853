"""Builds `lm` ops that bring features into another order."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ingot.ir import Arrange, Piece, Slice, Value, columns_of

from .forms import SPAN, Integers

MOST_OPERANDS = 4
MOST_PIECES = 64


def arranged(codes: Integers, tensors: Sequence[Value]) -> Value | None:
    """Return `[T, features]` with the features that `codes` name, of `lm` values `tensors`.

    None where no op of `lm` brings them together: too many values, or too little order.
    """
    numbers = np.unique(codes // SPAN)
    if len(numbers) > MOST_OPERANDS:
        return None
    columns = codes % SPAN
    first = tensors[int(numbers[0])]
    if len(numbers) == 1 and (np.diff(columns) == 1).all():
        if len(columns) == columns_of(first):
            return first
        return Slice(first, offset=int(columns[0]), size=len(columns)).out
    found = pieces_of(codes)
    if found is None:
        return None
    heads, pieces = found
    order = {int(number): index for index, number in enumerate(numbers)}
    renumbered = [Piece(order[p.operand], p.offset, p.stride, p.step, p.size) for p in pieces]
    operands = [tensors[int(number)] for number in numbers]
    return Arrange(operands, heads=heads, pieces=renumbered).out


def pieces_of(codes: Integers) -> tuple[int, list[Piece]] | None:
    """Return as many heads as there can be, and the pieces of each."""
    runs = _runs(codes)
    for heads in range(len(runs), 0, -1):
        count, rest = divmod(len(runs), heads)
        if rest or count > MOST_PIECES:
            continue
        found = [_piece(runs[index::count]) for index in range(count)]
        pieces = [piece for piece in found if piece is not None]
        if len(pieces) == count:
            return heads, pieces
    return None


def _runs(codes: Integers) -> list[Piece]:
    """Return the codes as runs of equal steps, each a piece of one head."""
    steps = np.diff(codes)
    runs: list[Piece] = []
    start = 0
    while start < len(codes):
        end = start + 1
        step = int(steps[start]) if end < len(codes) else 1
        if abs(step) < SPAN // 2:
            while end < len(codes) and steps[end - 1] == step:
                end += 1
        operand, column = divmod(int(codes[start]), SPAN)
        runs.append(Piece(operand, column, 0, step if end - start > 1 else 1, end - start))
        start = end
    return runs


def _piece(runs: Sequence[Piece]) -> Piece | None:
    """Return the piece of which the heads are `runs`, if they are equally far apart."""
    first = runs[0]
    kind = (first.operand, first.step, first.size)
    if any((run.operand, run.step, run.size) != kind for run in runs):
        return None
    strides = {after.offset - before.offset for before, after in pairwise(runs)} or {0}
    if len(strides) > 1:
        return None
    return Piece(first.operand, first.offset, strides.pop(), first.step, first.size)
