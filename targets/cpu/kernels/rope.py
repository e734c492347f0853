"""Rotary position embedding: a table of cos and sin for the step, and the rotation of heads.

Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.  A row
of the table is rotary_dim floats: the cosines of all frequencies, then their sines.
"""

from dataclasses import dataclass
from functools import partial

from ingot.targets.cpu.build import F32, I32, Pointer, Value, concat, loop, shuffle
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level

from .elementwise_groups import rows_of
from .elementwise_lanes import load_lanes, store_lanes
from .rope_trigonometry import cos_and_sin
from .rounding import strided_slots, symbol

_LANES = 16
_VECTOR = F32.x(_LANES)


@dataclass(frozen=True)
class Rotation:
    """How a head of `head_dim` features is rotated.

    `rotary_dim` features from `offset` on are, in pairs (i, i + rotary_dim / 2), or (2i, 2i + 1)
    where `interleaved`, counted from `offset`; the others pass unchanged.
    """

    head_dim: int
    rotary_dim: int
    interleaved: bool = False
    offset: int = 0

    def __post_init__(self) -> None:
        assert 0 < self.rotary_dim <= self.head_dim - self.offset and self.rotary_dim % 2 == 0

    @property
    def symbol(self) -> str:
        """The part of a kernel's name that tells rotations apart."""
        order = "interleaved" if self.interleaved else ""
        start = f"from{self.offset}" if self.offset else ""
        return symbol("rope", self.head_dim, self.rotary_dim, order, start)


def rope_table_kernel(rotary_dim: int, scale: float) -> Kernel:
    """The table of a step: cos and sin of position · inv_freq (a float32 product), times `scale`.

    A unit is a token; slots: positions (i32), inv_freq (float32 `[rotary_dim / 2]`), table,
    table_stride.
    """
    slots = (Slot("positions"), Slot("inv_freq"), *strided_slots("table"))
    name = symbol("rope_table", rotary_dim, scale)
    return Kernel(name, slots, partial(_table, rotary_dim // 2, scale))


def rope_kernel(heads: int, rotation: Rotation) -> Kernel:
    """`lm.rope`, given the step's table; y may be x.

    A unit is a token; slots: x, x_stride, table, table_stride, y, y_stride; strides in bytes.
    """
    slots = strided_slots("x", "table", "y")
    return Kernel(symbol(rotation.symbol, heads), slots, partial(_rope, heads, rotation))


def rotate_head(level: Level, rotation: Rotation, x: Pointer, table: Pointer, y: Pointer) -> None:
    """Write the rotated features of the head at `x` to `y`, which may be `x`."""
    half, end = rotation.rotary_dim // 2, rotation.offset + rotation.rotary_dim
    turned = (x.at(4 * rotation.offset), y.at(4 * rotation.offset))
    for first in range(0, half, _LANES):
        lanes = min(_LANES, half - first)
        cos = load_lanes(table.at(4 * first), _VECTOR, lanes)
        sin = load_lanes(table.at(4 * (half + first)), _VECTOR, lanes)
        rotate = _rotate_neighbours if rotation.interleaved else _rotate_halves
        rotate(level, rotation, first, lanes, (cos, sin), turned)
    for start, stop in ((0, rotation.offset), (end, rotation.head_dim)):
        for first in range(start, stop, _LANES):
            lanes = min(_LANES, stop - first)
            store_lanes(y.at(4 * first), load_lanes(x.at(4 * first), _VECTOR, lanes), lanes)


def _rotate_halves(
    level: Level,
    rotation: Rotation,
    first: int,
    lanes: int,
    angles: tuple[Value, Value],
    places: tuple[Pointer, Pointer],
) -> None:
    x, y = places
    low, high = 4 * first, 4 * (first + rotation.rotary_dim // 2)
    a, b = (load_lanes(x.at(offset), _VECTOR, lanes) for offset in (low, high))
    a, b = _turn(level, a, b, angles)
    store_lanes(y.at(low), a, lanes)
    store_lanes(y.at(high), b, lanes)


def _rotate_neighbours(
    level: Level,
    rotation: Rotation,
    first: int,
    lanes: int,
    angles: tuple[Value, Value],
    places: tuple[Pointer, Pointer],
) -> None:
    x, y = (place.at(8 * first) for place in places)
    pairs = load_lanes(x, F32.x(2 * _LANES), 2 * lanes)
    even = shuffle(pairs, pairs, range(0, 2 * _LANES, 2))
    odd = shuffle(pairs, pairs, range(1, 2 * _LANES, 2))
    both = concat(*_turn(level, even, odd, angles))
    order = [place + _LANES * side for place in range(_LANES) for side in (0, 1)]
    store_lanes(y, shuffle(both, both, order), 2 * lanes)


def _turn(level: Level, a: Value, b: Value, angles: tuple[Value, Value]) -> tuple[Value, Value]:
    cos, sin = angles
    return level.fma(a, cos, -(b * sin)), level.fma(b, cos, a * sin)


def _rope(heads: int, rotation: Rotation, level: Level, arguments: Arguments) -> None:
    with rows_of(arguments) as rows, loop(0, heads) as each:
        offset = each.index * (4 * rotation.head_dim)
        x, y = rows.row("x").at(offset), rows.row("y").at(offset)
        rotate_head(level, rotation, x, rows.row("table"), y)


def _table(half: int, scale: float, level: Level, arguments: Arguments) -> None:
    with rows_of(arguments) as rows:
        position = arguments.pointer("positions").load(I32, rows.index * 4).to(F32)
        table = rows.row("table")
        for first in range(0, half, _LANES):
            lanes = min(_LANES, half - first)
            frequencies = load_lanes(arguments.pointer("inv_freq").at(4 * first), _VECTOR, lanes)
            for part, values in enumerate(cos_and_sin(frequencies * position)):
                scaled = values if scale == 1.0 else values * scale
                store_lanes(table.at(4 * (first + part * half)), scaled, lanes)
