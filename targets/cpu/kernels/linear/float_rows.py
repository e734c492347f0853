"""Float linear for a few rows: weights stream from memory once, in the order in which they lie.

Each output is one float32 sum, sum = fma(x_k, w_k, sum), k in order; bfloat16 weights are widened.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import Pointer, Value, constant
from ingot.targets.cpu.kernel import Arguments
from ingot.targets.cpu.levels import Level

from .float_weights import LINE, each_line, weights_of_line
from .panels import for_panels
from .schedule import FloatRows
from .shape import FLOATS, LinearShape, output_of


def float_rows(
    level: Level, arguments: Arguments, *, shape: LinearShape, rows: int, schedule: FloatRows
) -> None:
    """Compute the first `rows` rows."""
    span = shape.packing.span
    x = arguments.pointer("x")

    def body(panel: Value, _: int) -> None:
        weights = arguments.pointer("weights").at(panel * shape.panel_bytes)

        def lines(first: Value, count: int, sums: Sequence[Value]) -> Sequence[Value]:
            for line in range(count):
                offset = first * LINE + line * LINE
                weights.prefetch(offset + schedule.ahead, 2)
                at = x.at(first * (4 * span) + 4 * span * line)
                loaded = weights_of_line(shape.packing_name, weights, offset)
                sums = add_line(level, shape, loaded, at, sums)
            return sums

        zero = [constant(FLOATS, 0.0)] * rows
        sums = each_line(shape.k // span, schedule.unroll, zero, lines)
        sums = add_odd_line(level, shape, weights, x, sums)
        output = output_of(shape, arguments, panel)
        for row, total in enumerate(sums):
            output.store(row, total)

    for_panels(arguments, 1, body)


def add_line(
    level: Level, shape: LinearShape, weights: Sequence[Value], x: Pointer, sums: Sequence[Value]
) -> list[Value]:
    """Add the products of the k of one line of one panel, to the sums of all rows."""
    totals = list(sums)
    for k, weight in enumerate(weights):
        for row, total in enumerate(totals):
            activation = x.load_splat(FLOATS, row * shape.row_bytes + 4 * k)
            totals[row] = level.fma(activation, weight, total)
    return totals


def add_odd_line(
    level: Level, shape: LinearShape, panel: Pointer, x: Pointer, sums: Sequence[Value]
) -> Sequence[Value]:
    """Add the last k of an odd K, which shares its line with padding that x need not have."""
    done = shape.k // shape.packing.span
    if done == shape.packing.blocks(shape.k):
        return sums
    first = weights_of_line(shape.packing_name, panel, done * LINE)[:1]
    return add_line(level, shape, first, x.at(4 * (shape.k - 1)), sums)
