"""The loop over the pages of sequences, with softmax made online (Milakov and Gimelshein, 2018).

The loop's length is that of the longest sequence that takes part, whatever the width of the block
table, and starts where a window begins; what is held at once is a block of pages.
"""

from dataclasses import dataclass
from typing import Protocol

from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

LEAST, TINY = -1e30, 1e-30
BLOCK_TOKENS = 256
"""Tokens of the cache that are looked at together."""


class Sight(Protocol):
    """Which tokens a token sees: see `lm.attention`."""

    @property
    def causal(self) -> bool: ...
    @property
    def window(self) -> int: ...
    @property
    def chunk(self) -> int: ...


@dataclass(frozen=True)
class Scores:
    """What an attention computes: see `lm.attention`; sinks and slopes are `[heads]`."""

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    scale: float
    softcap: float
    sight: Sight
    sinks: Array | None
    slopes: Array | None
    factor: str

    def spread(self, per_head: Array, queries: int) -> Array:
        """Return `[heads]` as `[1, kv_heads, rows of a KV head, 1]`."""
        group = self.heads // self.kv_heads
        wide = per_head.reshape(1, self.kv_heads, group, 1, 1)
        return wide.broadcast(1, self.kv_heads, group, queries, 1).reshape(
            1, self.kv_heads, group * queries, 1
        )


@dataclass(frozen=True)
class Pages:
    """A pool `[pages, page tokens, 2 kv_heads, size]`, and the pages of the sequences in it.

    Where devices share the tokens of a sequence, the pages of the one at `place` of `devices` hold
    every `devices`-th stretch of `tokens`.
    """

    pool: Array
    tables: Array
    place: Array | None
    devices: int
    tokens: int

    @property
    def span(self) -> int:
        """Tokens of a sequence from the beginning of a page to that of the next one."""
        return self.tokens * self.devices


@dataclass(frozen=True)
class Queries:
    """Queries of some sequences, as many of each.

    q `[items, queries, heads x dim]`, positions `[items, queries]`; `[items]` are the number of
    tokens of each sequence, 0 for padding, and its row in the block table.
    """

    q: Array
    positions: Array
    lengths: Array
    sequences: Array


@dataclass(frozen=True)
class Attended:
    """Attention, the largest score and the sum of exp(score - largest) that it was divided by.

    `[items, kv_heads, rows, ...]`; or after `of_tokens` `[T, heads x value]` and `[T, heads]`.
    """

    values: Array
    largest: Array
    total: Array

    @property
    def arrays(self) -> tuple[Array, Array, Array]:
        return self.values, self.largest, self.total

    def lse(self) -> Array:
        """Return the logarithm of the sum of exp(score), -inf where nothing was seen."""
        seen = self.total > 0.0
        return hlo.where(seen, hlo.log(self.total) + self.largest, float("-inf"))

    def of_tokens(self, queries: int) -> "Attended":
        """Return rows of tokens, with the heads of each side by side."""
        items, kv_heads, rows, _ = self.values.shape
        group = rows // queries

        def turned(x: Array) -> Array:
            apart = x.reshape(items, kv_heads, group, queries, x.shape[3])
            return apart.transpose(0, 3, 1, 2, 4).reshape(items * queries, -1)

        return Attended(*map(turned, self.arrays))


def attend(queries: Queries, pages: Pages, scores: Scores) -> Attended:
    """Return what the queries make of the tokens that they see in the pages, for each token."""
    items, count = queries.positions.shape
    step = max(1, min(BLOCK_TOKENS // pages.tokens, pages.tables.shape[1]))
    first, last = _page_range(queries, pages, scores.sight)
    # Rows of a KV head: its query heads, and of each the queries of the item.
    rows = scores.heads // scores.kv_heads * count
    q = queries.q.reshape(items, count, scores.kv_heads, -1, scores.head_dim)
    q = q.transpose(0, 2, 3, 1, 4).reshape(items, scores.kv_heads, rows, scores.head_dim)

    def block(number: Array, total: Array, largest: Array, values: Array) -> list[Array]:
        keys, entries, positions = _entries(queries, pages, first + number * step, step, scores)
        found, seen = _scored(q, keys, positions, queries, scores)
        most = hlo.maximum(largest, hlo.where(seen, found, LEAST).max())
        shares = hlo.where(seen, hlo.exp(found - most), 0.0)
        fade = hlo.exp(largest - most)
        added = hlo.dot(shares.astype(scores.factor), entries, ((3,), (1,)), ((0, 1), (0, 2)))
        return [total * fade + shares.sum(), most, values * fade + added]

    shape = items, scores.kv_heads, rows
    carry = [hlo.full((*shape, 1), 0.0), hlo.full((*shape, 1), LEAST)]
    carry.append(hlo.full((*shape, scores.value_dim), 0.0))
    blocks = ((last - first + (step - 1)) // step).max(0)
    total, largest, values = hlo.loop(0, blocks, carry, block)
    if scores.sinks is not None:
        sinks = scores.spread(scores.sinks, count)
        most = hlo.maximum(largest, sinks)
        fade = hlo.exp(largest - most)
        total, values = total * fade + hlo.exp(sinks - most), values * fade
        largest = most
    return Attended(values / hlo.maximum(total, TINY), largest, total).of_tokens(count)


def _page_range(queries: Queries, pages: Pages, sight: Sight) -> tuple[Array, Array]:
    """Return the first page that any query of an item sees, and the one after the last."""
    lowest, highest = queries.positions[:, :1], queries.positions[:, -1:]
    start = hlo.full(lowest.shape, 0, "i32")
    end = queries.lengths[:, None]
    if sight.causal:
        end = hlo.minimum(end, highest + 1)
    if sight.window:
        start = hlo.maximum(start, lowest - (sight.window - 1))
        end = hlo.minimum(end, highest + sight.window)
    if sight.chunk:
        start = hlo.maximum(start, lowest - lowest % sight.chunk)
    span = pages.span
    # A sequence of no tokens has its query before the first one.
    first = hlo.maximum(start, 0) // span
    return first, hlo.maximum(first, (hlo.maximum(end, 0) + (span - 1)) // span)


def _entries(
    queries: Queries, pages: Pages, first: Array, count: int, scores: Scores
) -> tuple[Array, Array, Array]:
    """Return keys and values `[items, n, kv_heads, size]` of pages, and their positions."""
    items, width = first.shape[0], pages.tables.shape[1]
    numbers = first + hlo.arange(count)[None]
    places = queries.sequences[:, None] * width + hlo.minimum(numbers, width - 1)
    taken = hlo.take(pages.pool, hlo.take(pages.tables.reshape(-1), places))
    tokens = count * pages.tokens
    entries = taken.reshape(items, tokens, scores.kv_heads, 2, -1).astype(scores.factor)
    begin = numbers * pages.span
    if pages.place is not None:
        begin = begin + pages.place * pages.tokens
    positions = (begin[:, :, None] + hlo.arange(pages.tokens)).reshape(items, tokens)
    keys = entries[:, :, :, 0, : scores.head_dim]
    return keys, entries[:, :, :, 1, : scores.value_dim], positions


def _scored(
    q: Array, keys: Array, positions: Array, queries: Queries, scores: Scores
) -> tuple[Array, Array]:
    """Return the scores `[items, kv_heads, rows, n]`, and which of the keys a query sees."""
    items, count = queries.positions.shape
    found = hlo.dot(q, keys, ((3,), (3,)), ((0, 1), (0, 2))) * scores.scale
    if scores.softcap:
        found = hlo.tanh(found / scores.softcap) * scores.softcap
    group = scores.heads // scores.kv_heads
    shape = items, 1, group, count, positions.shape[1]
    ages = queries.positions[:, None, None, :, None] - positions[:, None, None, None]
    seen = positions[:, None, None, None] < queries.lengths[:, None, None, None, None]
    sight = scores.sight
    if sight.causal:
        seen = seen & (ages >= 0)
    if sight.window:
        seen = seen & (hlo.absolute(ages) < sight.window)
    if sight.chunk:
        own = (queries.positions // sight.chunk)[:, None, None, :, None]
        seen = seen & own.equals(positions[:, None, None, None] // sight.chunk)
    rows = shape[0], 1, group * count, shape[4]
    if scores.slopes is not None:
        distance = (-ages).astype("f32").broadcast(*shape).reshape(*rows)
        found = found + scores.spread(scores.slopes, count) * distance
    return found, seen.broadcast(*shape).reshape(*rows)
