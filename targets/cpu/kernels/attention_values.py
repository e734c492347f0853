"""Sums of the values of a block, weighted by probabilities: features are lanes, tokens in order."""

from ingot.targets.cpu.build import TO_SECOND_CACHE, Pointer, Value, loop
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .attention_products import LANES, VECTOR, add_product, in_pairs, load_value
from .attention_shape import SCORE_BYTES, AttentionShape, Blocking, ScratchLayout

_UNROLL = 2


def add_values(
    shape: AttentionShape,
    level: Level,
    blocking: Blocking,
    scratch: Pointer,
    row: Value,
    rows: int,
    pages: tuple[Value, Value],
) -> None:
    """Replace the sums of `rows` rows from number `row` on by sums · factor + Σ probability · value
    over the pages `pages[0]` … `pages[1]` - 1 of the block.
    """
    cut = [
        (
            range(row, min(row + blocking.value_rows, rows)),
            range(chunk, min(chunk + blocking.value_chunks, shape.value_chunks)),
        )
        for chunk in range(0, shape.value_chunks, blocking.value_chunks)
        for row in range(0, rows, blocking.value_rows)
    ]
    lines = range(0, shape.layout.step_bytes, 64)
    for number, (some_rows, chunks) in enumerate(cut):
        # Each takes its part of what is fetched for the next block.
        share = lines[len(lines) * number // len(cut) : len(lines) * (number + 1) // len(cut)]
        _Block(shape, level, scratch, some_rows, chunks, share).add(row, pages)


class _Block:
    """Rows and vectors of features whose sums are in registers."""

    def __init__(
        self,
        shape: AttentionShape,
        level: Level,
        scratch: Pointer,
        rows: range,
        chunks: range,
        prefetch: range,
    ) -> None:
        self.shape, self.level, self.scratch = shape, level, scratch
        self.layout = ScratchLayout(shape)
        self.cells = [(row, chunk) for row in rows for chunk in chunks]
        self.chunks, self.prefetch = chunks, prefetch

    def add(self, row: Value, pages: tuple[Value, Value]) -> None:
        shape = self.shape
        sums = self.scratch.at(self.layout.sums).at(row * shape.sum_bytes)
        factors = self.scratch.at(self.layout.factors)
        offsets = [place * shape.sum_bytes + 64 * chunk for place, chunk in self.cells]
        totals: tuple[Value, ...] = tuple(
            sums.load(VECTOR, offset) * factors.load_splat(VECTOR, 4 * place)
            for (place, _), offset in zip(self.cells, offsets, strict=True)
        )
        with loop(*pages, carried=totals) as each:
            each.carry(*self._page(each.index, each.carried))
        for offset, total in zip(offsets, each.results, strict=True):
            sums.store(total, offset)

    def _page(self, page: Value, totals: tuple[Value, ...]) -> tuple[Value, ...]:
        layout = self.shape.layout
        steps = PAGE_TOKENS // layout.step_tokens
        step_bytes = 4 if in_pairs(self.shape, self.level) else 4 * layout.step_tokens
        values = self.scratch.at(self.layout.values).at(page * 8).load_pointer()
        ahead = self.scratch.at(self.layout.ahead).at(page * 8).load_pointer()
        ahead = ahead.at(layout.values_offset)
        weights = self.scratch.at(page * (steps * step_bytes))
        with loop(0, steps, _UNROLL, carried=totals) as each:
            inner = each.carried
            for number in range(_UNROLL):
                step = each.index + number
                place = step * layout.step_bytes
                for line in self.prefetch:
                    ahead.at(place).prefetch(line, TO_SECOND_CACHE)
                inner = self._step(values.at(place), weights.at(step * step_bytes), inner)
            each.carry(*inner)
        return each.results

    def _step(
        self, value: Pointer, weights: Pointer, totals: tuple[Value, ...]
    ) -> tuple[Value, ...]:
        shape, level = self.shape, self.level
        size = shape.layout.step_tokens * shape.layout.element_bytes
        vectors = {
            chunk: load_value(
                shape,
                level,
                value.at(LANES * chunk * size),
                min(LANES, shape.value_features - LANES * chunk),
            )
            for chunk in self.chunks
        }
        return tuple(
            add_product(shape, level, total, weights.at(SCORE_BYTES * row), vectors[chunk])
            for (row, chunk), total in zip(self.cells, totals, strict=True)
        )
