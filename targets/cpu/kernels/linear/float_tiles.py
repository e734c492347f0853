"""Float linear for any number of rows: blocks of K stay in the first cache, tiles of rows reuse
them.

Where a level multiplies no pairs of bfloat16, such weights are widened, and those of other
distributions' packings are unpacked, to scratch once a block.  Between blocks of K the sums are
kept in the output.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.targets.cpu.build import I64, TO_SECOND_CACHE, Pointer, Value, constant, loop, minimum
from ingot.targets.cpu.kernel import Arguments
from ingot.targets.cpu.levels import Level

from .float_steps import LINE, step_of_block
from .float_weights import block_of, each_line
from .panels import for_panels
from .schedule import FloatTiles
from .shape import LinearShape, output_of
from .tiles import ROW_BLOCK, begin_tile, finish_tile


@dataclass(frozen=True, eq=False)
class _Work:
    """What a kernel was asked for, and the rows of this block: `count` from `first` on."""

    level: Level
    arguments: Arguments
    shape: LinearShape
    schedule: FloatTiles
    first: Value
    count: Value


def float_tiles(
    level: Level, arguments: Arguments, *, shape: LinearShape, schedule: FloatTiles
) -> None:
    """Compute all rows; the last tile may compute rows beyond them, which the buffers have."""
    total = arguments.integer("rows")
    with loop(0, total, ROW_BLOCK) as blocks:
        count = minimum(total - blocks.index, ROW_BLOCK)
        work = _Work(level, arguments, shape, schedule, blocks.index, count)
        for_panels(arguments, schedule.panels, lambda panel, panels: _panels(work, panel, panels))


def _panels(work: _Work, panel: Value, panels: int) -> None:
    shape, size, arguments = work.shape, work.schedule.k_block, work.arguments
    step = step_of_block(work.level, shape)
    weights = [
        arguments.pointer("weights").at(panel * shape.panel_bytes + i * shape.panel_bytes)
        for i in range(panels)
    ]
    x = arguments.pointer("x").at(work.first * shape.row_bytes)
    with loop(0, shape.k, size) as k_blocks:
        k = k_blocks.index
        length = minimum(constant(I64, shape.k) - k, size)
        blocks = [
            block_of(work.level, shape, step, one, k, length, arguments.scratch.at(i * size * LINE))
            for i, one in enumerate(weights)
        ]
        following = (k + size) // shape.packing.span * shape.packing.block_bytes
        ahead = [one.at(following) for one in weights]
        _tiles(work, panel, blocks, ahead, x.at(k // step.span * step.x_bytes), k, length)


def _tiles(
    work: _Work,
    panel: Value,
    blocks: Sequence[Pointer],
    ahead: Sequence[Pointer],
    x: Pointer,
    k: Value,
    length: Value,
) -> None:
    """Add the products of a block of K to the sums of all rows, and ask for the next block."""
    shape, schedule = work.shape, work.schedule
    step = step_of_block(work.level, shape)
    outputs = [output_of(shape, work.arguments, panel + i) for i in range(len(blocks))]
    is_last = (k + schedule.k_block) >= shape.k
    turns = schedule.k_block // (step.span * schedule.unroll)
    with loop(0, work.count, schedule.rows) as tiles:
        row = work.first + tiles.index
        here, asked = x.at(tiles.index * shape.row_bytes), tiles.index // schedule.rows * turns

        def add(at: Value, count: int, sums: Sequence[Value]) -> Sequence[Value]:
            for one in ahead:
                one.prefetch((asked + at // schedule.unroll) * LINE, TO_SECOND_CACHE)
            for place in range(count):
                offset = at * (step.vectors * LINE) + place * step.vectors * LINE
                loaded = [step.load(block, offset) for block in blocks]
                activations = here.at(at * step.x_bytes + place * step.x_bytes)
                sums = step.add(work.level, shape, loaded, activations, sums)
            return sums

        sums = begin_tile(outputs, row, schedule.rows, k.equals(0))
        steps = (length + (step.span - 1)) // step.span
        sums = tuple(each_line(steps, schedule.unroll, sums, add))
        finish_tile(outputs, row, schedule.rows, is_last, sums)
