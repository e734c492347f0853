"""The running softmax of some rows over a block of pages (Milakov and Gimelshein, 2018).

Scores are in units of log 2.  A row keeps its largest score so far and its sum of probabilities
relative to that, in 16 lanes.  A block of which a row sees nothing multiplies by 1 and adds 0.
Where probabilities are rounded, their sum is that of the rounded ones.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import (
    BF16,
    F32,
    I32,
    Pointer,
    Value,
    concat,
    constant,
    intrinsic,
    loop,
    maximum,
    narrow_to_bf16,
    shuffle,
    widen_bf16,
)
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .activation_functions import exp2_not_positive
from .attention_products import in_pairs
from .attention_shape import BLOCK_PAGES, SCORE_BYTES, AttentionShape, ScratchLayout

VECTOR = F32.x(PAGE_TOKENS)
WORDS = I32.x(PAGE_TOKENS)
LOG2_E = 1.4426950408889634
LOWEST = -3.0e38
"""The largest score of a row that has seen nothing: finite, so that differences are numbers."""


def query_factor(shape: AttentionShape) -> float:
    """Return what queries are multiplied by before they meet keys."""
    return shape.scale / shape.softcap if shape.softcap else shape.scale * LOG2_E


def softmax_block(
    shape: AttentionShape, level: Level, scratch: Pointer, row: Value, rows: int
) -> None:
    """Turn the scores of `rows` rows from number `row` on into probabilities, relative to their new
    largest scores; update these and the sums, and write the factors that rescale what was summed
    before.
    """
    layout = ScratchLayout(shape)
    wide = 1 << (rows - 1).bit_length()
    largest = scratch.at(layout.largest).at(row * 4)
    before = largest.load(F32.x(wide))
    seen = [_largest_of(_load(scratch.at(number * SCORE_BYTES))) for number in range(rows)]
    after = maximum(largest_of_rows([*seen, *[seen[-1]] * (wide - rows)]), before)
    largest.store(after.lanes(0, rows))
    scratch.store(exp2_not_positive(level, before - after), layout.factors)
    with loop(0, rows) as each:
        place = scratch.at(each.index * SCORE_BYTES)
        limit = largest.at(each.index * 4).load_splat(VECTOR)
        factor = scratch.at(layout.factors).at(each.index * 4).load_splat(VECTOR)
        totals = scratch.at(layout.totals).at((row + each.index) * 64)
        rounded = shape.dtype == "bfloat16"
        shifted = [values - limit for values in _load(place)]
        found = [exp2_not_positive(level, values, coarse=rounded) for values in shifted]
        if rounded:
            totals.store(_store_rounded(shape, level, place, totals.load(VECTOR) * factor, found))
        else:
            total = (found[0] + found[1]) + (found[2] + found[3])
            totals.store(level.fma(totals.load(VECTOR), factor, total))
            _store_scaled(shape, scratch, place, found)


def _load(place: Pointer) -> list[Value]:
    return [place.load(VECTOR, 4 * PAGE_TOKENS * page) for page in range(BLOCK_PAGES)]


def _largest_of(vectors: Sequence[Value]) -> Value:
    return maximum(maximum(vectors[0], vectors[1]), maximum(vectors[2], vectors[3]))


def _store_scaled(
    shape: AttentionShape, scratch: Pointer, place: Pointer, found: Sequence[Value]
) -> None:
    """Store probabilities, times the scales of the values where these have some."""
    for page, values in enumerate(found):
        if shape.dtype == "int8":
            layout = shape.layout
            stored = scratch.load_pointer(ScratchLayout(shape).values + 8 * page)
            scales = stored.load(VECTOR, layout.value_scales_offset - layout.values_offset)
            values = values * scales
        place.store(values, 4 * PAGE_TOKENS * page)


def _store_rounded(
    shape: AttentionShape, level: Level, place: Pointer, total: Value, found: Sequence[Value]
) -> Value:
    """Store probabilities rounded to bfloat16; return `total` plus these, a lane for a pair."""
    for half in range(0, BLOCK_PAGES, 2):
        if in_pairs(shape, level):
            name = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
            words = intrinsic(name, BF16.x(2 * PAGE_TOKENS), found[half + 1], found[half])
            place.store(words, 2 * PAGE_TOKENS * half)
        else:
            parts = [narrow_to_bf16(found[half + number]) for number in range(2)]
            for number, part in enumerate(parts):
                place.store(widen_bf16(part), 4 * PAGE_TOKENS * (half + number))
            words = concat(*parts)
        ones = constant(WORDS, 0x3F803F80)
        total = level.dot_bf16(total, ones, words.bitcast(WORDS))
    return total


def largest_of_rows(rows: Sequence[Value]) -> Value:
    """Return a vector of each row's largest lane; the number of rows is a power of two."""
    lanes = rows[0].type.lanes
    parts, segment = list(rows), lanes
    while segment > 1:
        if len(parts) > 1:
            parts = [_fold(a, b, segment) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        else:
            parts = [_fold_alone(parts[0], segment)]
        segment //= 2
    return parts[0]


def _fold(a: Value, b: Value, segment: int) -> Value:
    """Halve every segment of a and of b; those of b follow those of a."""
    width, half = 2 * a.type.lanes, segment // 2
    starts = range(0, width, segment)
    low = [start + lane for start in starts for lane in range(half)]
    return maximum(shuffle(a, b, low), shuffle(a, b, [lane + half for lane in low]))


def _fold_alone(a: Value, segment: int) -> Value:
    half = segment // 2
    low = [start + lane for start in range(0, a.type.lanes, segment) for lane in range(half)]
    return maximum(shuffle(a, a, low), shuffle(a, a, [lane + half for lane in low]))
