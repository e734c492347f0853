"""One block of pages: where they are, and how rows see them."""

from dataclasses import dataclass

from ingot.targets.cpu.build import (
    F32,
    I8,
    I32,
    Pointer,
    Value,
    constant,
    loop,
    select,
    splat,
    when,
)
from ingot.targets.cpu.plan import PAGE_TOKENS

from .attention_pass import Pass
from .attention_scores import products_of
from .attention_shape import BLOCK_PAGES, BLOCK_TOKENS, SCORE_BYTES, Blocking
from .attention_sight import Scorer, all_seen, first_seen, last_seen, needs_scorer
from .attention_softmax import softmax_block
from .attention_values import add_values
from .elementwise_lanes import load_lanes, store_lanes

_VECTOR = F32.x(PAGE_TOKENS)
_LANES = 16


@dataclass(frozen=True, eq=False)
class Block:
    """The block number `index` of a pass that goes through the pages `first` … `last`."""

    part: Pass
    blocking: Blocking
    index: Value
    first: Value
    last: Value

    def enter(self) -> None:
        """Note the addresses of the block's pages and of those to fetch meanwhile.

        Pages that the pass does not go through stand for none: their neighbours take their place,
        as keys may be read of all.
        """
        part, scratch, layout = self.part, self.part.scratch, self.part.layout
        page = self.index * BLOCK_PAGES
        final = self.index >= self.last // BLOCK_PAGES
        for number in range(BLOCK_PAGES):
            entry = part.entry(self._within(page + number))
            values = entry.at(part.shape.layout.values_offset)
            scratch.store_pointer(entry, layout.keys + 8 * number)
            scratch.store_pointer(values, layout.values + 8 * number)
            scratch.store_pointer(self._ahead(number, final), layout.ahead + 8 * number)
        with when(final):
            slot = scratch.at(layout.values).at(self.last % BLOCK_PAGES * 8)
            slot.store_pointer(scratch.at(layout.tail))

    def _ahead(self, number: int, final: Value) -> Pointer:
        """Return a page of the next block, or behind the last one of the next KV head's first."""
        part, begin = self.part, self.first // BLOCK_PAGES * BLOCK_PAGES
        following = part.head + 1
        turns = final & (following < part.shape.kv_heads)
        page = select(turns, begin, (self.index + 1) * BLOCK_PAGES) + number
        return part.entry(self._within(page), select(turns, following, part.head))

    def _within(self, page: Value) -> Value:
        page = select(page < self.first, self.first, page)
        return select(page > self.last, self.last, page)

    def update(self, row: Value, rows: int) -> None:
        """Let `rows` rows from number `row` on see the block."""
        part, shape = self.part, self.part.shape
        oldest = part.position + row // shape.group
        newest = part.position + (row + (rows - 1)) // shape.group
        page = self.index * BLOCK_PAGES
        first = _at_least(first_seen(shape, oldest), page)
        last = last_seen(shape, newest, part.end) // PAGE_TOKENS + 1
        last = select(last > page + BLOCK_PAGES, page + BLOCK_PAGES, last)
        pages = (first - page, last - page)
        with when(pages[0] < pages[1]):
            self._score(row, rows, pages, (oldest, newest))
            softmax_block(shape, part.level, part.scratch, row, rows)
            add_values(shape, part.level, self.blocking, part.scratch, row, rows, pages)

    def _score(
        self, row: Value, rows: int, pages: tuple[Value, Value], positions: tuple[Value, Value]
    ) -> None:
        part, shape = self.part, self.part.shape
        self._multiply(row, rows, pages)
        first = self.index * BLOCK_TOKENS
        scorer = Scorer(shape, part.level, part.scratch, first.to(I32), part.end)
        if needs_scorer(shape):
            scorer.score(row, rows)
        else:
            seen = all_seen(shape, first, positions, part.end)
            with when(seen.equals(constant(seen.type, 0))):
                scorer.score(row, rows)

    def _multiply(self, row: Value, rows: int, pages: tuple[Value, Value]) -> None:
        part, shape, layout = self.part, self.part.shape, self.part.layout
        together = self.blocking.pages(rows)
        queries = part.scratch.at(layout.queries).at(row * shape.row_bytes)
        with loop(pages[0] // together * together, pages[1], together) as each:
            keys, ahead = (
                [
                    part.scratch.at(table).at(each.index * 8).load_pointer(8 * number)
                    for number in range(together)
                ]
                for table in (layout.keys, layout.ahead)
            )
            where = list(zip(keys, ahead, strict=True))
            products = products_of(shape, part.level, queries, rows, where)
            scores = part.scratch.at(each.index * (4 * PAGE_TOKENS))
            for number, product in enumerate(products):
                place, page = divmod(number, together)
                if shape.dtype == "int8":
                    product = product * keys[page].load(_VECTOR, shape.layout.scales_offset)
                scores.store(product, place * SCORE_BYTES + 4 * PAGE_TOKENS * page)


def _at_least(position: Value | int, page: Value) -> Value:
    """Return the page of a position, or `page` where that comes later."""
    if isinstance(position, int):
        return page
    own = position // PAGE_TOKENS
    return select(own > page, own, page)


def copy_tail(part: Pass, page: Value, tokens: Value) -> None:
    """Copy the first `tokens` values of a page, zeros behind them: what has not been written may
    be anything, even after it is multiplied by 0.
    """
    layout = part.shape.layout
    source = part.entry(page).at(layout.values_offset)
    target = part.scratch.at(part.layout.tail)
    element = I8 if layout.dtype == "int8" else I32
    with loop(0, PAGE_TOKENS // layout.step_tokens) as steps:
        token = steps.index * layout.step_tokens
        mask = _mask_of(token, tokens, layout.step_tokens)
        places = [pointer.at(steps.index * layout.step_bytes) for pointer in (source, target)]
        _copy_masked(places[0], places[1], layout.value_features, mask.to(element.scalar))
    if layout.dtype == "int8":
        offset = layout.value_scales_offset - layout.values_offset
        lanes = constant(I32.x(PAGE_TOKENS), list(range(PAGE_TOKENS)))
        scales = source.load(I32.x(PAGE_TOKENS), offset)
        target.store(select(lanes < splat(tokens.to(I32), PAGE_TOKENS), scales, 0), offset)


def _mask_of(token: Value, tokens: Value, step_tokens: int) -> Value:
    """Return the bits of an i32 that hold what was written of the step at `token`."""
    whole = constant(I32, 0xFFFFFFFF)
    some = select(token < tokens, constant(I32, 0xFFFF), constant(I32, 0))
    return select(token + (step_tokens - 1) < tokens, whole, some)


def _copy_masked(source: Pointer, target: Pointer, features: int, mask: Value) -> None:
    size = mask.type.bits // 8
    for first in range(0, features, _LANES):
        lanes = min(_LANES, features - first)
        values = load_lanes(source.at(first * size), mask.type.x(_LANES), lanes)
        store_lanes(target.at(first * size), values & splat(mask, _LANES), lanes)
