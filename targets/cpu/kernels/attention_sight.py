"""Which pages rows go through, and which tokens of a block a row sees.

A row sees the tokens up to its own, or where attention is not causal to the end of its sequence;
of these those of its window and of its chunk.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ingot.targets.cpu.build import (
    F32,
    I32,
    Pointer,
    Type,
    Value,
    constant,
    iota,
    loop,
    maximum,
    select,
    splat,
)
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .activation_functions import tanh
from .attention_shape import (
    BLOCK_PAGES,
    BLOCK_TOKENS,
    SCORE_BYTES,
    AttentionShape,
    ScratchLayout,
)
from .attention_softmax import LOG2_E

_TOKENS = I32.x(PAGE_TOKENS)
_VECTOR = F32.x(PAGE_TOKENS)


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


def all_seen(
    shape: AttentionShape, first: Value, rows: tuple[Value, Value], end: Callable[[], Value]
) -> Value:
    """Return whether rows at positions `rows[0]` … `rows[1]` see all tokens of the block at
    position `first`; i64 throughout.
    """
    last = first + (BLOCK_TOKENS - 1)
    conditions = [last <= rows[0] if shape.causal else last < end()]
    if shape.window:
        conditions.append(first > rows[1] - shape.window)
        if not shape.causal:
            conditions.append(last < rows[0] + shape.window)
    if shape.chunk:
        conditions.append(first >= rows[1] - rows[1] % shape.chunk)
    result = conditions[0]
    for condition in conditions[1:]:
        result = result & condition
    return result


def needs_scorer(shape: AttentionShape) -> bool:
    """Whether products are no scores yet even where everything is seen."""
    return bool(shape.softcap) or shape.slopes


@dataclass(frozen=True, eq=False)
class Scorer:
    """Makes a row's scores of its products with the keys of a block.

    `first` (i32) is the position of the block's first token, `end` gives the number of tokens of
    the sequence (i64); only attention that is not causal asks for it.
    """

    shape: AttentionShape
    level: Level
    scratch: Pointer
    first: Value
    end: Callable[[], Value]

    def score(self, row: Value, rows: int) -> None:
        """Turn products of `rows` rows from number `row` on into scores in units of log 2, minus
        infinity for tokens that a row does not see.
        """
        with loop(0, rows) as each:
            place = self.scratch.at(each.index * SCORE_BYTES)
            for page in range(BLOCK_PAGES):
                offset = 4 * PAGE_TOKENS * page
                scores = self._scores(place.load(_VECTOR, offset), row + each.index, page)
                place.store(scores, offset)

    def _number(self, offset: int, type_: Type, row: Value) -> Value:
        return self.scratch.at(offset).at(row * 4).load(type_)

    def _scores(self, products: Value, row: Value, page: int) -> Value:
        shape, layout = self.shape, ScratchLayout(self.shape)
        scores = products
        if shape.softcap:
            scores = tanh(self.level, scores) * (shape.softcap * LOG2_E)
        tokens = iota(_TOKENS) + PAGE_TOKENS * page
        own = splat(self._number(layout.positions, I32, row) - self.first, PAGE_TOKENS)
        if shape.slopes:
            slope = self._number(layout.slopes, F32, row)
            distance = (tokens - own).to(F32)
            scores = self.level.fma(splat(slope, PAGE_TOKENS), distance, scores)
        for seen in self._seen(tokens, own, row):
            scores = select(seen, scores, float("-inf"))
        return scores

    def _seen(self, tokens: Value, own: Value, row: Value) -> list[Value]:
        shape, seen = self.shape, []
        if shape.causal:
            seen.append(tokens <= own)
        else:
            seen.append(tokens < splat(self.end().to(I32) - self.first, PAGE_TOKENS))
            if shape.window:
                seen.append(tokens < own + shape.window)
        if shape.window:
            seen.append(tokens > own - shape.window)
        if shape.chunk:
            start = self._number(ScratchLayout(shape).chunk_starts, I32, row)
            seen.append(tokens >= splat(start - self.first, PAGE_TOKENS))
        return seen
