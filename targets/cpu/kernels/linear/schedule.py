"""Schedules of the linear kernels: how one goes through its work, never what it computes.

All schedules of a kernel give the same bits, so any may serve.  Which is fastest depends on the
processor: a level lists those that win on some, its default first, and the runtime measures them.
"""

from dataclasses import dataclass, replace

from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import GROUP, UNPACKED_SPAN

from .ahead import Ahead, BlockAhead, LineAhead
from .shape import LinearShape


@dataclass(frozen=True)
class IntegerRows:
    """A few rows of rounded activations: weights stream from memory once, asked for `ahead`.

    `written_out` takes K a block at a time, all dot products before the scales: loads in the order
    of memory, but larger code that needs more registers.  Of `at_once` rows all sums take one quad
    of K, then the next.
    """

    ahead: Ahead
    written_out: bool = False
    at_once: int = 1


@dataclass(frozen=True)
class IntegerTiles:
    """Any number of rows: `groups` of K of some panels are unpacked once, tiles of rows reuse them.

    A tile has `panels` by `rows`, or one panel by `rows_of_one` where panels are left over; both
    divide 16, to which buffers are rounded up.  `at_once` is as for few rows.
    """

    panels: int
    rows: int
    rows_of_one: int
    at_once: int
    groups: int = 16


@dataclass(frozen=True)
class FloatRows:
    """A few rows of float activations: `unroll` lines are a turn, each of which asks for another.

    Each activation meets the weights of `panels` panels.
    """

    ahead: LineAhead
    unroll: int = 4
    panels: int = 1


@dataclass(frozen=True)
class FloatTiles:
    """Any number of rows of float activations: a tile has `panels` by `rows`.

    Tiles go through `k_block` of K, a multiple of the span of every packing, whose weights stay in
    the first cache.
    """

    panels: int
    rows: int
    unroll: int = 4
    k_block: int = UNPACKED_SPAN


Schedule = IntegerRows | IntegerTiles | FloatRows | FloatTiles

# The most rows whose sums fit the registers of a level, and so need no tiles.
_ROWS_IN_REGISTERS = {512: 16, 256: 16, 128: 4}

# Rows this far apart share one set of the first cache, which holds 8 of them beside the weights.
_CACHE_SET_STRIDE, _ROWS_IN_A_SET = 4096, 8

# Where latency is the limit and not bandwidth, on Zen 4 a third as far, or far alone, leaves a
# quarter unused.
BLOCK_AHEAD = BlockAhead(far=12288, near=2048)

# Where little is computed between loads, the hardware prefetcher does most of it, and better.
_LINE_AHEAD = LineAhead(2048)

# Rows, and dot products that wait for their scales, up to which writing out gains.
_WRITTEN_OUT = {512: (2, 8), 256: (1, 4), 128: (0, 0)}

_INTEGER_TILES = {
    # Where the second cache is fast enough for what is unpacked, sums leave registers less often.
    512: (
        IntegerTiles(panels=3, rows=4, rows_of_one=8, at_once=8, groups=32),
        IntegerTiles(panels=2, rows=8, rows_of_one=8, at_once=8),
    ),
    # With 16 wide registers a tile is larger than they are, so that what is derived from the
    # weights serves more rows.
    256: (IntegerTiles(panels=1, rows=16, rows_of_one=16, at_once=4),),
    128: (IntegerTiles(panels=1, rows=4, rows_of_one=4, at_once=4),),
}
_FLOAT_TILES = {
    512: (FloatTiles(panels=3, rows=8),),
    256: (FloatTiles(panels=1, rows=4),),
    128: (FloatTiles(panels=1, rows=4),),
}
# Weights that are multiplied as they lie take half the room of floats in the first cache.
_PAIR_TILES = (FloatTiles(panels=3, rows=8, k_block=2 * UNPACKED_SPAN),)


def schedules(level: Level, shape: LinearShape, rows: int | None) -> tuple[Schedule, ...]:
    """Return the schedules of the kernel for up to `rows` rows (None: any), the default first."""
    if rows is None or _needs_tiles(level, shape, rows):
        if shape.pairs and level.bf16_dot:
            return _PAIR_TILES
        tiles = _INTEGER_TILES if shape.is_integer else _FLOAT_TILES
        return tiles[level.vector_bits]
    if shape.packing.unpack is not None:
        tiled = _FLOAT_TILES[level.vector_bits]
        return tuple(replace(tile, rows=min(rows, tile.rows)) for tile in tiled)
    return _integer_rows(level, shape, rows) if shape.is_integer else _float_rows(shape, rows)


def _needs_tiles(level: Level, shape: LinearShape, rows: int) -> bool:
    thrashing = shape.row_bytes % _CACHE_SET_STRIDE == 0 and rows > _ROWS_IN_A_SET
    return rows > _ROWS_IN_REGISTERS[level.vector_bits] or thrashing


def _integer_rows(level: Level, shape: LinearShape, rows: int) -> tuple[Schedule, ...]:
    many_registers = level.vector_bits == 512
    # With many registers row after row: the group stays there, beside the sums of all rows.
    little = rows <= 2 and shape.layout.bits == 8 and not shape.layout.group
    ahead = _LINE_AHEAD if little else BLOCK_AHEAD
    by_group = IntegerRows(ahead, at_once=1 if many_registers else 4)
    most_rows, most_waiting = _WRITTEN_OUT[level.vector_bits]
    if rows <= most_rows and rows * (shape.packing.span // GROUP) <= most_waiting:
        return (IntegerRows(ahead, written_out=True), by_group)
    return (by_group,)


def _float_rows(shape: LinearShape, rows: int) -> tuple[Schedule, ...]:
    far = FloatRows(LineAhead(8192))
    if rows > 2:
        return (far,)
    near = FloatRows(LineAhead(1024) if shape.packing_name == "f32" else _LINE_AHEAD)
    return (near, far) if shape.pairs else (near,)
