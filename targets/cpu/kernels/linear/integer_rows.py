"""Integer linear for a few rows: weights stream from memory once, rows share what is unpacked.

One panel is read at a time, so that memory is read in the order in which it lies: on some
processors several streams at once halve the bandwidth.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import Pointer, Value, keep_memory_order, loop
from ingot.targets.cpu.kernel import Arguments
from ingot.targets.cpu.kernels.rounding import ROUNDED_GROUP_BYTES
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import GROUP

from .integer_arithmetic import (
    add_rows,
    dot_group,
    fold_groups,
    scale_and_add,
    scale_parts,
    zeros,
)
from .integer_weights import Index, for_many_rows, load_codes, load_scale, load_scales
from .panels import for_panels
from .schedule import IntegerRows
from .shape import LinearShape, output_of


def integer_rows(
    level: Level, arguments: Arguments, *, shape: LinearShape, rows: int, schedule: IntegerRows
) -> None:
    """Compute the first `rows` rows."""

    def body(panel: Value, _: int) -> None:
        weights = arguments.pointer("weights").at(panel * shape.panel_bytes)
        sums = zeros(rows)
        over = _over_blocks if schedule.written_out else _over_groups
        totals = over(level, shape, schedule, weights, arguments.pointer("x"), sums)
        # A panel's scales lie behind its codes: loaded before, they would have to be waited for.
        keep_memory_order()
        output = output_of(shape, arguments, panel)
        for row, total in enumerate(totals):
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
    layout = shape.layout
    per_block = layout.span // GROUP
    stride = layout.block_bytes // per_block

    def add(group: Value, totals: Sequence[Value]) -> Sequence[Value]:
        block, place = group // per_block * layout.block_bytes, group % per_block
        schedule.ahead.before_block(panel, block + place * stride, stride)
        codes = load_codes(level, layout, panel, block, place, schedule.ahead)
        weights = for_many_rows(level, load_scales(level, layout, panel, block, place, codes))
        rows = _rows_at(shape, x, group, len(sums))
        return add_rows(level, [weights], rows, totals, schedule.at_once)

    def scales(group: Value) -> Sequence[Value]:
        block, place = group // per_block * layout.block_bytes, group % per_block
        index = place // layout.groups_per_scale
        return [load_scale(level, layout, panel, block, index)]

    return fold_groups(level, layout, shape.groups, sums, add, scales)


def _over_blocks(
    level: Level,
    shape: LinearShape,
    schedule: IntegerRows,
    panel: Pointer,
    x: Pointer,
    sums: Sequence[Value],
) -> Sequence[Value]:
    """Go through K a block at a time."""
    per_block = shape.layout.span // GROUP
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
    layout = shape.layout
    offset = block * layout.block_bytes
    first = block * (layout.span // GROUP)
    schedule.ahead.before_block(panel, offset, layout.block_bytes)
    dots = []
    for place in range(groups):
        codes = load_codes(level, layout, panel, offset, place, schedule.ahead)
        rows = _rows_at(shape, x, first + place, len(sums))
        dots.append((codes, rows, [dot_group(level, codes, row) for row in rows]))
        keep_memory_order()
    shared = layout.groups_per_scale
    totals = list(sums)
    for start in range(0, groups, shared):
        parts = totals if shared == 1 else zeros(len(sums))
        for place, (codes, rows, summed) in list(enumerate(dots))[start : start + shared]:
            weights = load_scales(level, layout, panel, offset, place, codes)
            parts = [
                scale_and_add(level, weights, row, dot, part)
                for row, dot, part in zip(rows, summed, parts, strict=True)
            ]
        if shared > 1:
            scale = load_scale(level, layout, panel, offset, start // shared)
            parts = scale_parts(level, parts, [scale], totals)
        totals = parts
    return totals


def _rows_at(shape: LinearShape, x: Pointer, group: Index, rows: int) -> list[Pointer]:
    at = x.at(group * ROUNDED_GROUP_BYTES)
    return [at.at(row * shape.row_bytes) for row in range(rows)]
