"""Sums of the values of a page, weighted by probabilities: features are lanes, tokens in order."""

from collections.abc import Callable, Sequence

from ingot.targets.cpu.build import F32, I8, I16, Pointer, Value, loop, widen_bf16
from ingot.targets.cpu.levels import Level

from .attention_shape import AttentionShape, Blocking
from .elementwise_lanes import load_lanes

_LANES = 16
VECTOR = F32.x(_LANES)


def add_values(
    shape: AttentionShape,
    level: Level,
    blocking: Blocking,
    places: tuple[Pointer, Pointer, Pointer, Pointer],
    rows: int,
    tokens: Value,
    prefetch: Callable[[Value], None],
) -> None:
    """Replace the sums of `rows` rows by sums · factor + Σ probability · value over `tokens`.

    `places` are the addresses of the sums, the factors (a float a row), the probabilities (16
    floats a row) and the page's values.  Values of later tokens are not read: they may be anything.
    `prefetch` is called once with each token.
    """
    for first_chunk in range(0, shape.value_chunks, blocking.value_chunks):
        chunks = range(first_chunk, min(first_chunk + blocking.value_chunks, shape.value_chunks))
        for first_row in range(0, rows, blocking.value_rows):
            block = range(first_row, min(first_row + blocking.value_rows, rows))
            once = prefetch if first_chunk == first_row == 0 else None
            _add_block(shape, level, places, (block, chunks), tokens, once)


def _add_block(
    shape: AttentionShape,
    level: Level,
    places: tuple[Pointer, Pointer, Pointer, Pointer],
    block: tuple[range, range],
    tokens: Value,
    prefetch: Callable[[Value], None] | None,
) -> None:
    sums, factors, probabilities, values = places
    cells = [(row, chunk) for row in block[0] for chunk in block[1]]
    offsets = [row * shape.sum_bytes + 64 * chunk for row, chunk in cells]
    scaled = [
        sums.load(VECTOR, offset) * factors.load_splat(VECTOR, 4 * row)
        for (row, _), offset in zip(cells, offsets, strict=True)
    ]
    with loop(0, tokens, carried=scaled) as each:
        if prefetch:
            prefetch(each.index)
        value = values.at(each.index * shape.layout.value_bytes)
        vectors = {chunk: _load_value(shape, value, chunk) for chunk in block[1]}
        weights = probabilities.at(each.index * 4)
        weight = {row: weights.load_splat(VECTOR, 64 * row) for row in block[0]}
        each.carry(*_accumulate(level, cells, weight, vectors, each.carried))
    for offset, total in zip(offsets, each.results, strict=True):
        sums.store(total, offset)


def _accumulate(
    level: Level,
    cells: Sequence[tuple[int, int]],
    weight: dict[int, Value],
    vectors: dict[int, Value],
    totals: Sequence[Value],
) -> Sequence[Value]:
    return [
        level.fma(weight[row], vectors[chunk], total)
        for (row, chunk), total in zip(cells, totals, strict=True)
    ]


def _load_value(shape: AttentionShape, value: Pointer, chunk: int) -> Value:
    lanes = min(_LANES, shape.value_features - _LANES * chunk)
    place = value.at(_LANES * chunk * shape.layout.element_bytes)
    if shape.dtype == "float32":
        return load_lanes(place, VECTOR, lanes)
    if shape.dtype == "bfloat16":
        return widen_bf16(load_lanes(place, I16.x(_LANES), lanes))
    return load_lanes(place, I8.x(_LANES), lanes).to(F32)
