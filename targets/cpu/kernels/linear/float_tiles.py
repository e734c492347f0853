"""Float linear for any number of rows: blocks of K stay in the first cache, tiles of rows reuse
them.

bfloat16 weights are widened, and those of other distributions' packings unpacked, to scratch once
a block.  Between blocks of K the sums are kept in the
output.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import I64, Pointer, Value, constant, loop, minimum
from ingot.targets.cpu.kernel import Arguments
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import UNPACKED_SPAN

from .float_weights import LINE, each_line, weights_of_line
from .panels import for_panels
from .schedule import FloatTiles
from .shape import FLOATS, LinearShape, output_of
from .tiles import ROW_BLOCK, begin_tile, finish_tile

K_BLOCK = UNPACKED_SPAN


def float_tiles(
    level: Level, arguments: Arguments, *, shape: LinearShape, schedule: FloatTiles
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
    schedule: FloatTiles,
    panel: Value,
    panels: int,
    first: Value,
    count: Value,
) -> None:
    rows = schedule.rows
    weights = arguments.pointer("weights").at(panel * shape.panel_bytes)
    outputs = [output_of(shape, arguments, panel + i) for i in range(panels)]
    x = arguments.pointer("x").at(first * shape.row_bytes)
    with loop(0, shape.k, K_BLOCK) as k_blocks:
        k = k_blocks.index
        length = minimum(constant(I64, shape.k) - k, K_BLOCK)
        blocks = [
            _block(level, shape, weights.at(i * shape.panel_bytes), k, length, arguments.scratch, i)
            for i in range(panels)
        ]
        following = weights.at((k + K_BLOCK) // shape.packing.span * shape.packing.block_bytes)
        is_last = (k + K_BLOCK) >= shape.k
        with loop(0, count, rows) as tiles:
            row = first + tiles.index
            sums = begin_tile(outputs, row, rows, k.equals(0))
            here = x.at(tiles.index * shape.row_bytes + k * 4)
            ahead = following.at(tiles.index // rows * (K_BLOCK // schedule.unroll * LINE))

            def lines(
                at: Value,
                steps: int,
                sums: Sequence[Value],
                here: Pointer = here,
                ahead: Pointer = ahead,
                blocks: list[Pointer] = blocks,
            ) -> Sequence[Value]:
                for i in range(panels):
                    ahead.prefetch(at // schedule.unroll * LINE + i * shape.panel_bytes, 2)
                for step in range(steps):
                    sums = _step(level, shape, blocks, here, at + step, sums)
                return sums

            finish_tile(
                outputs, row, rows, is_last, each_line(length, schedule.unroll, sums, lines)
            )


def _block(
    level: Level,
    shape: LinearShape,
    panel: Pointer,
    k: Value,
    length: Value,
    scratch: Pointer,
    index: int,
) -> Pointer:
    """Return where the float32 weights of a block of K are, 64 bytes for each k."""
    if shape.packing.unpack is not None:
        return _unpacked(level, shape, panel, k, length, scratch.at(index * K_BLOCK * LINE))
    if shape.packing_name == "f32":
        return panel.at(k * LINE)
    to = scratch.at(index * K_BLOCK * LINE)
    with loop(0, (length + 1) // 2) as pairs:
        offset = (k // 2 + pairs.index) * LINE
        for half, weight in enumerate(weights_of_line(shape.packing_name, panel, offset)):
            to.store(weight, pairs.index * (2 * LINE) + half * LINE, align=LINE)
    return to


def _unpacked(
    level: Level, shape: LinearShape, panel: Pointer, k: Value, length: Value, to: Pointer
) -> Pointer:
    """Unpack a block of K to scratch, by what the packing brings for that."""
    packing = shape.packing
    assert packing.unpack is not None and K_BLOCK % packing.span == 0
    with loop(0, (length + (packing.span - 1)) // packing.span) as blocks:
        block = panel.at((k // packing.span + blocks.index) * packing.block_bytes)
        packing.unpack(level, block, to.at(blocks.index * (packing.span * LINE)))
    return to


def _step(
    level: Level,
    shape: LinearShape,
    blocks: Sequence[Pointer],
    x: Pointer,
    k: Value,
    sums: Sequence[Value],
) -> list[Value]:
    """Add the products of one k to the sums, row by row, panel by panel."""
    weights = [block.load(FLOATS, k * LINE, align=LINE) for block in blocks]
    totals = []
    for row in range(len(sums) // len(blocks)):
        activation = x.load_splat(FLOATS, k * 4 + row * shape.row_bytes)
        for i, weight in enumerate(weights):
            totals.append(level.fma(activation, weight, sums[row * len(blocks) + i]))
    return totals
