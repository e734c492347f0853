"""Integer linear for a few rows: weights stream from memory once, rows share what is unpacked.

One panel is read at a time, so that memory is read in the order in which it lies: on some
processors several streams at once halve the bandwidth.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import Pointer, Value, constant, keep_memory_order, loop
from ingot.targets.cpu.kernel import Arguments
from ingot.targets.cpu.kernels.rounding import ROUNDED_GROUP_BYTES
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import GROUP

from .integer_arithmetic import add_rows, dot_group, scale_and_add
from .integer_weights import Index, for_many_rows, load_codes, load_group, load_scales
from .panels import for_panels
from .schedule import IntegerRows
from .shape import FLOATS, LinearShape, output_of


def integer_rows(
    level: Level, arguments: Arguments, *, shape: LinearShape, rows: int, schedule: IntegerRows
) -> None:
    """Compute the first `rows` rows."""

    def body(panel: Value, _: int) -> None:
        weights = arguments.pointer("weights").at(panel * shape.panel_bytes)
        sums = [constant(FLOATS, 0.0)] * rows
        over = _over_blocks if schedule.written_out else _over_groups
        output = output_of(shape, arguments, panel)
        x = arguments.pointer("x")
        for row, total in enumerate(over(level, shape, schedule, weights, x, sums)):
            output.store(row, total)

    for_panels(arguments, 1, body)


def _over_groups(
    level: Level,
    shape: LinearShape,
    schedule: IntegerRows,
    panel: Pointer,
    x: Pointer,
    sums: Sequence[Value],
) -> Sequence[Value]:
    """Go through K a group at a time."""
    packing = shape.packing
    per_block = packing.span // GROUP
    stride = packing.block_bytes // per_block
    with loop(0, shape.groups, carried=sums) as groups:
        block = groups.index // per_block * packing.block_bytes
        place = groups.index % per_block
        weights = load_group(level, shape.packing_name, panel, block, place)
        weights = for_many_rows(level, weights)
        for line in range(0, stride, 64):
            panel.prefetch(block + place * stride + (schedule.ahead + line), 2)
        rows = _rows_at(shape, x, groups.index, len(sums))
        groups.carry(*add_rows(level, [weights], rows, groups.carried, schedule.at_once))
    return groups.results


def _over_blocks(
    level: Level,
    shape: LinearShape,
    schedule: IntegerRows,
    panel: Pointer,
    x: Pointer,
    sums: Sequence[Value],
) -> Sequence[Value]:
    """Go through K a block at a time."""
    per_block = shape.packing.span // GROUP
    full, rest = divmod(shape.groups, per_block)
    if full:
        with loop(0, full, carried=sums) as blocks:
            at = blocks.index
            blocks.carry(*_block(level, shape, schedule, panel, at, per_block, x, blocks.carried))
        sums = blocks.results
    return _block(level, shape, schedule, panel, full, rest, x, sums) if rest else sums


def _block(
    level: Level,
    shape: LinearShape,
    schedule: IntegerRows,
    panel: Pointer,
    block: Index,
    groups: int,
    x: Pointer,
    sums: Sequence[Value],
) -> list[Value]:
    """Add the groups of one block: first all dot products, then the scales that follow the codes,
    which is the order in which they lie in memory.
    """
    packing = shape.packing
    offset = block * packing.block_bytes
    first = block * (packing.span // GROUP)
    lines = -(-packing.block_bytes // 64)
    totals, dots = list(sums), []
    for place in range(groups):
        codes = load_codes(packing.name, panel, offset, place)
        rows = _rows_at(shape, x, first + place, len(sums))
        dots.append((codes, rows, [dot_group(level, codes, row) for row in rows]))
        for line in range(place * lines // groups, (place + 1) * lines // groups):
            panel.prefetch(offset + (schedule.ahead + 64 * line), 2)
        keep_memory_order()
    for place, (codes, rows, summed) in enumerate(dots):
        weights = load_scales(level, packing.name, panel, offset, place, codes)
        totals = [
            scale_and_add(level, weights, row, dot, total)
            for row, dot, total in zip(rows, summed, totals, strict=True)
        ]
    return totals


def _rows_at(shape: LinearShape, x: Pointer, group: Index, rows: int) -> list[Pointer]:
    at = x.at(group * ROUNDED_GROUP_BYTES)
    return [at.at(row * shape.row_bytes) for row in range(rows)]
