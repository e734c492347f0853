"""Float linear for a few rows: weights stream from memory once, in the order in which they lie.

Each output is one float32 sum, sum = fma(x_k, w_k, sum), in the order of `float_steps.py`.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import Pointer, Value, constant
from ingot.targets.cpu.kernel import Arguments
from ingot.targets.cpu.levels import Level

from .float_steps import LINE, Step, step_of_line
from .float_weights import each_line
from .panels import for_panels
from .schedule import FloatRows
from .shape import FLOATS, LinearShape, output_of


def float_rows(
    level: Level, arguments: Arguments, *, shape: LinearShape, rows: int, schedule: FloatRows
) -> None:
    """Compute the first `rows` rows."""
    step, x = step_of_line(level, shape), arguments.pointer("x")
    # Only rows of `bf16-act` have the padding of an odd K.
    lines = shape.packing.blocks(shape.k) if shape.pairs else shape.k // shape.packing.span

    def body(panel: Value, panels: int) -> None:
        first = arguments.pointer("weights").at(panel * shape.panel_bytes)
        weights = [first.at(i * shape.panel_bytes) for i in range(panels)]

        def add(line: Value, count: int, sums: Sequence[Value]) -> Sequence[Value]:
            for place in range(count):
                offset = line * LINE + place * LINE
                for one in weights:
                    schedule.ahead.before_line(one, offset)
                loaded = [step.line(one, offset) for one in weights]
                at = x.at(line * step.x_bytes + place * step.x_bytes)
                sums = step.add(level, shape, loaded, at, sums)
            return sums

        sums = each_line(lines, schedule.unroll, [constant(FLOATS, 0.0)] * rows * panels, add)
        if lines < shape.packing.blocks(shape.k):
            sums = _add_odd_line(level, shape, step, weights, x, sums)
        outputs = [output_of(shape, arguments, panel + i) for i in range(panels)]
        for place, total in enumerate(sums):
            outputs[place % panels].store(place // panels, total)

    for_panels(arguments, schedule.panels, body)


def _add_odd_line(
    level: Level,
    shape: LinearShape,
    step: Step,
    panels: Sequence[Pointer],
    x: Pointer,
    sums: Sequence[Value],
) -> Sequence[Value]:
    """Add the last k of an odd K, which shares its line with padding that x need not have."""
    offset = shape.k // shape.packing.span * LINE
    first = [step.line(panel, offset)[:1] for panel in panels]
    return Step(1).add(level, shape, first, x.at(4 * (shape.k - 1)), sums)
