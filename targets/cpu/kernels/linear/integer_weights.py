"""Reading packed integer weights: the bytes, scale and offset of one group of 32 by 16 outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ingot.ir import Offset
from ingot.targets.cpu.build import F32, I8, I16, I32, Pointer, Value, constant
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import LANES, IntegerLayout

from .ahead import Ahead
from .arithmetic import MAGIC

QUADS = 8
BYTES = I8.x(64)

_LINE = 64
_MIDDLE = 8
_STEP = 16
"""What bytes are multiples of, where that makes nibbles of a group without zero points cheaper."""

Index = Value | int


@dataclass(frozen=True, eq=False)
class GroupWeights:
    """One group of 16 outputs.

    `quads` are 8 vectors of bytes in 0..`limit`, 4 of K a lane; a code is (byte - `bias`) / `step`.
    `zero` is the zero point as floats, or None; so are `scale`, of what bytes stand for (None: one
    for several groups or a row, applied later), and `minimum`.  `magic_scale` is -MAGIC·scale where
    that replaces a subtraction for every row.
    """

    quads: tuple[Value, ...]
    limit: int
    bias: int = 0
    step: int = 1
    scale: Value | None = None
    zero: Value | None = None
    minimum: Value | None = None
    magic_scale: Value | None = None


def load_group(
    level: Level, layout: IntegerLayout, panel: Pointer, block: Index, place: Index
) -> GroupWeights:
    """Load a group: `block` is the byte offset in the panel of its block of K, `place` its number
    in that block.
    """
    codes = load_codes(level, layout, panel, block, place)
    return load_scales(level, layout, panel, block, place, codes)


def load_codes(
    level: Level,
    layout: IntegerLayout,
    panel: Pointer,
    block: Index,
    place: Index,
    ahead: Ahead | None = None,
) -> GroupWeights:
    """Load only the bytes of a group, which is all that its dot products need."""
    at = panel.at(block + place * layout.group_bytes)
    lines = _lines(at, layout, ahead)
    if layout.bits == 8:
        return GroupWeights(lines, 255, bias=128)
    if _multiplied(level, layout):
        return GroupWeights(_high_nibbles(lines), 15 * _STEP, _MIDDLE * _STEP, _STEP)
    return GroupWeights(_nibbles(lines), 15)


def load_scales(
    level: Level,
    layout: IntegerLayout,
    panel: Pointer,
    block: Index,
    place: Index,
    codes: GroupWeights,
) -> GroupWeights:
    """Load what belongs to a group besides its bytes, and return both."""
    if not layout.group:
        return codes
    place = place // layout.groups_per_scale
    if layout.groups_per_scale == 1:
        codes = replace(codes, scale=load_scale(level, layout, panel, block, place))
    offset = block + (layout.offsets_at + place * layout.offset_bytes)
    if layout.offset is Offset.MINIMUM:
        return replace(codes, minimum=_half(level, layout, panel, offset))
    if layout.offset is Offset.ZERO_POINT:
        zero = panel.load(I8.x(LANES), offset, align=min(layout.alignment, LANES))
        return replace(codes, zero=zero.to_unsigned(I32).to(F32))
    if layout.offset is Offset.MIDDLE and codes.step == 1:
        return replace(codes, zero=constant(F32.x(LANES), _MIDDLE))
    return codes


def load_scale(
    level: Level, layout: IntegerLayout, panel: Pointer, block: Index, index: Index
) -> Value:
    """Return the scales numbered `index` of a block, of what the bytes of `load_codes` stand for.

    Dividing by a power of two is exact, and so is what is then rounded.
    """
    offset = block + (layout.scales_at + index * layout.scale_bytes)
    scale = _half(level, layout, panel, offset)
    return scale * (1 / _STEP) if _multiplied(level, layout) else scale


def for_many_rows(level: Level, weights: GroupWeights) -> GroupWeights:
    """Do once for a group what would otherwise be done for each row of activations."""
    if "avx512vnni" in level.features and weights.zero is not None:
        # Code - zero point + 128, which only VNNI multiplies without saturating.
        spread = weights.zero.to(I32) * 0x01010101
        shift = (constant(spread.type, 0x80808080) - spread).bitcast(BYTES)
        quads = tuple(quad + shift for quad in weights.quads)
        weights = replace(weights, quads=quads, limit=143, bias=128, zero=None)
    if "fma" in level.features and weights.scale is not None and weights.zero is None:
        # Exact, because a float16 scale times 3 is exact; the FMA that uses it rounds once.
        weights = replace(weights, magic_scale=weights.scale * -MAGIC)
    return weights


def _multiplied(level: Level, layout: IntegerLayout) -> bool:
    """Whether bytes are 16 times the codes: 16·8 is the bias that activations bring for int8, so
    the zero point costs nothing; only VNNI multiplies such bytes without saturating.
    """
    return layout.offset is Offset.MIDDLE and "avx512vnni" in level.features


def _half(level: Level, layout: IntegerLayout, panel: Pointer, offset: Index) -> Value:
    bits = panel.load(I16.x(LANES), offset, align=min(layout.alignment, 2 * LANES))
    return level.half_to_float(bits)


def _lines(at: Pointer, layout: IntegerLayout, ahead: Ahead | None) -> tuple[Value, ...]:
    lines = []
    for offset in range(0, layout.group_bytes, _LINE):
        if ahead is not None:
            ahead.before_line(at, offset)
        lines.append(at.load(BYTES, offset, align=layout.alignment))
    return tuple(lines)


def _nibbles(packed: Sequence[Value]) -> tuple[Value, ...]:
    mask = constant(BYTES, 15)
    low = [vector & mask for vector in packed]
    shifted = [(vector.bitcast(I16.x(32)) >> 4).bitcast(BYTES) for vector in packed]
    return (*low, *(vector & mask for vector in shifted))


def _high_nibbles(packed: Sequence[Value]) -> tuple[Value, ...]:
    """Codes times 16."""
    mask = constant(BYTES, 15 * _STEP)
    shifted = [(vector.bitcast(I16.x(32)) << 4).bitcast(BYTES) for vector in packed]
    return tuple(vector & mask for vector in (*shifted, *packed))
