"""The running softmax of a block of rows over one page (Milakov and Gimelshein, 2018).

Scores are in units of log 2.  A row keeps its largest score so far and, a lane a place in the page,
its sum of probabilities relative to that.  A page of which a row sees nothing multiplies by 1 and
adds 0.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import F32, Pointer, Value, maximum, shuffle, splat
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .activation_functions import exp2_not_positive
from .attention_shape import AttentionShape, ScratchLayout

VECTOR = F32.x(PAGE_TOKENS)
LOG2_E = 1.4426950408889634
LOWEST = -3.0e38
"""The largest score of a row that has seen nothing: finite, so that differences are numbers."""


def query_factor(shape: AttentionShape) -> float:
    """Return what queries are multiplied by before they meet keys."""
    return shape.scale / shape.softcap if shape.softcap else shape.scale * LOG2_E


def softmax_page(
    layout: ScratchLayout, level: Level, scratch: Pointer, row: Value, scores: Sequence[Value]
) -> Sequence[Value]:
    """Return the probabilities of the rows from number `row` on, relative to their new largest
    scores; update these and the sums, and write the factors that rescale what was summed before.
    """
    rows = len(scores)
    wide = 1 << (rows - 1).bit_length()
    largest = scratch.at(layout.largest).at(row * 4)
    before = largest.load(F32.x(wide))
    after = maximum(largest_of_rows([*scores, *[scores[-1]] * (wide - rows)]), before)
    largest.store(after.lanes(0, rows))
    factors = exp2_not_positive(level, before - after)
    scratch.store(factors, layout.factors)
    totals = scratch.at(layout.totals).at(row * 64)
    probabilities = []
    for number, values in enumerate(scores):
        shifted = values - splat(after.lane(number), PAGE_TOKENS)
        p = exp2_not_positive(level, shifted)
        factor = splat(factors.lane(number), PAGE_TOKENS)
        total = totals.load(VECTOR, 64 * number)
        totals.store(level.fma(total, factor, p), 64 * number)
        probabilities.append(p)
    return probabilities


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
