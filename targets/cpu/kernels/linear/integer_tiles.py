"""Integer linear for any number of rows: weights are unpacked once, tiles of rows reuse them.

Rows are taken in blocks whose activations stay in the second cache, K in blocks whose unpacked
weights stay in the first.  Between blocks of K the sums are kept in the output, as float32.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import (
    I64,
    TO_SECOND_CACHE,
    Pointer,
    Value,
    constant,
    loop,
    minimum,
    select,
)
from ingot.targets.cpu.kernel import Arguments
from ingot.targets.cpu.kernels.rounding import ROUNDED_GROUP_BYTES
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import GROUP, IntegerLayout

from .integer_arithmetic import add_rows, fold_groups
from .integer_weights import for_many_rows, load_group, load_scale
from .panels import for_panels
from .schedule import IntegerTiles
from .scratch_weights import ScratchFormat
from .shape import LinearShape, output_of
from .tiles import ROW_BLOCK, begin_tile, finish_tile


def integer_tiles(
    level: Level, arguments: Arguments, *, shape: LinearShape, schedule: IntegerTiles
) -> None:
    """Compute all rows; the last tile may compute rows beyond them, which the buffers have."""
    total = arguments.integer("rows")
    with loop(0, total, ROW_BLOCK) as blocks:
        first, count = blocks.index, minimum(total - blocks.index, ROW_BLOCK)

        def body(panel: Value, panels: int) -> None:
            _panels(level, arguments, shape, schedule, panel, panels, first, count)

        for_panels(arguments, schedule.panels, body)


def _panels(
    level: Level,
    arguments: Arguments,
    shape: LinearShape,
    schedule: IntegerTiles,
    panel: Value,
    panels: int,
    first: Value,
    count: Value,
) -> None:
    rows = schedule.rows if panels == schedule.panels else schedule.rows_of_one
    layout = shape.layout
    per_block = layout.span // GROUP
    weights = arguments.pointer("weights").at(panel * shape.panel_bytes)
    outputs = [output_of(shape, arguments, panel + i) for i in range(panels)]
    x = arguments.pointer("x").at(first * shape.row_bytes)
    with loop(0, shape.groups, schedule.groups) as k_blocks:
        group = k_blocks.index
        groups = minimum(constant(I64, shape.groups) - group, schedule.groups)
        at = weights.at(group // per_block * layout.block_bytes)
        at_panels = [at.at(i * shape.panel_bytes) for i in range(panels)]
        kept = _unpack(level, layout, schedule, at_panels, groups, arguments.scratch)
        is_first, is_last = group.equals(0), (group + schedule.groups) >= shape.groups
        following = select(
            is_last,
            constant(I64, panels * shape.panel_bytes),
            (group + schedule.groups) // per_block * layout.block_bytes,
        )
        with loop(0, count, rows) as tiles:
            row = first + tiles.index
            sums = begin_tile(outputs, row, rows, is_first)
            activations = x.at(tiles.index * shape.row_bytes + group * ROUNDED_GROUP_BYTES)
            ahead = weights.at(following + tiles.index // rows * (schedule.groups * 64))

            def add(
                each: Value,
                totals: Sequence[Value],
                activations: Pointer = activations,
                ahead: Pointer = ahead,
                kept: ScratchFormat = kept,
            ) -> Sequence[Value]:
                for i in range(panels):
                    ahead.at(i * shape.panel_bytes).prefetch(each * 64, TO_SECOND_CACHE)
                entries = [
                    arguments.scratch.at((each + i * schedule.groups) * kept.entry_bytes)
                    for i in range(panels)
                ]
                here = activations.at(each * ROUNDED_GROUP_BYTES)
                at_rows = [here.at(row * shape.row_bytes) for row in range(rows)]
                groups_here = [kept.restore(entry) for entry in entries]
                return add_rows(level, groups_here, at_rows, totals, schedule.at_once)

            def scales(each: Value, at_panels: Sequence[Pointer] = at_panels) -> Sequence[Value]:
                block = each // per_block * layout.block_bytes
                index = each % per_block // layout.groups_per_scale
                return [load_scale(level, layout, panel, block, index) for panel in at_panels]

            totals = fold_groups(level, layout, groups, sums, add, scales)
            finish_tile(outputs, row, rows, is_last, totals)


def _unpack(
    level: Level,
    layout: IntegerLayout,
    schedule: IntegerTiles,
    panels: Sequence[Pointer],
    groups: Value,
    to: Pointer,
) -> ScratchFormat:
    per_block = layout.span // GROUP
    kept: ScratchFormat | None = None
    with loop(0, (groups + (per_block - 1)) // per_block) as blocks:
        offset = blocks.index * layout.block_bytes
        for i, panel in enumerate(panels):
            for place in range(per_block):
                loaded = for_many_rows(level, load_group(level, layout, panel, offset, place))
                kept = ScratchFormat(loaded)
                entry = blocks.index * per_block + (place + i * schedule.groups)
                kept.save(loaded, to.at(entry * kept.entry_bytes))
    assert kept is not None
    return kept
