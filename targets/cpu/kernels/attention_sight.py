"""Which pages a pass of rows goes through, and which of a page's tokens a row sees.

A row sees the tokens up to its own, or where attention is not causal to the end of its sequence;
of these those of its window and of its chunk.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ingot.targets.cpu.build import F32, I32, Pointer, Value, constant, iota, maximum, select, splat
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .activation_functions import tanh
from .attention_shape import AttentionShape, ScratchLayout
from .attention_softmax import LOG2_E


def first_seen(shape: AttentionShape, position: Value) -> Value | int:
    """Return the first position that the row at `position`, or one after it, sees."""
    bounds: list[Value] = []
    if shape.window:
        oldest = position - (shape.window - 1)
        bounds.append(select(oldest < 0, constant(position.type, 0), oldest))
    if shape.chunk:
        bounds.append(position - position % shape.chunk)
    if not bounds:
        return 0
    return bounds[0] if len(bounds) == 1 else maximum(*bounds)


def last_seen(shape: AttentionShape, last: Value, end: Callable[[], Value]) -> Value:
    """Return the last position that the row at `last`, or one before it, sees.

    `end` gives the number of tokens of the sequence.
    """
    if shape.causal:
        return last
    final = end() - 1
    if shape.window:
        newest = last + (shape.window - 1)
        final = select(newest < final, newest, final)
    return final


@dataclass(frozen=True, eq=False)
class Scorer:
    """Makes a row's scores of its products with the keys of a page.

    `first` (i32) is the position of the page's first token, `end` (i32) the number of tokens of the
    sequence; only attention that is not causal asks for it.
    """

    shape: AttentionShape
    level: Level
    scratch: Pointer
    first: Value
    end: Callable[[], Value]

    def scores(self, products: Value, row: Value, number: int) -> Value:
        """Return the scores of row number `row` + `number` in units of log 2, minus infinity for
        tokens that it does not see.
        """
        shape, layout = self.shape, ScratchLayout(self.shape)
        position = self.scratch.at(layout.positions).at(row * 4).load(I32, 4 * number)
        scores = products
        if shape.softcap:
            scores = tanh(self.level, scores) * (shape.softcap * LOG2_E)
        tokens = iota(I32.x(PAGE_TOKENS))
        own = splat(position - self.first, PAGE_TOKENS)
        if shape.slopes:
            slope = self.scratch.at(layout.slopes).at(row * 4).load(F32, 4 * number)
            distance = (tokens - own).to(F32)
            scores = self.level.fma(splat(slope, PAGE_TOKENS), distance, scores)
        for seen in self._seen(tokens, own, row, number):
            scores = select(seen, scores, float("-inf"))
        return scores

    def _seen(self, tokens: Value, own: Value, row: Value, number: int) -> list[Value]:
        shape, seen = self.shape, []
        if shape.causal:
            seen.append(tokens <= own)
        else:
            seen.append(tokens < splat(self.end() - self.first, PAGE_TOKENS))
            if shape.window:
                seen.append(tokens < own + shape.window)
        if shape.window:
            seen.append(tokens > own - shape.window)
        if shape.chunk:
            starts = self.scratch.at(ScratchLayout(shape).chunk_starts).at(row * 4)
            start = starts.load(I32, 4 * number)
            seen.append(tokens >= splat(start - self.first, PAGE_TOKENS))
        return seen
