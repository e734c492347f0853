"""Reading packed integer weights: the bytes, scale and offset of one group of 32 by 16 outputs."""

from dataclasses import dataclass, replace

from ingot.targets.cpu.build import F32, I8, I16, I32, Pointer, Value, constant
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import LANES

from .arithmetic import MAGIC

QUADS = 8
BYTES = I8.x(64)

Index = Value | int


@dataclass(frozen=True, eq=False)
class GroupWeights:
    """One group of 16 outputs.

    `quads` are 8 vectors of bytes in 0..`limit`, 4 of K a lane; a code is byte - `bias`.  `zero`
    is the zero point as floats, or None; so are `scale` (None: one a row, applied at the end) and
    `minimum`.  `magic_scale` is -MAGIC·scale where that replaces a subtraction for every row.
    """

    quads: tuple[Value, ...]
    limit: int
    bias: int = 0
    scale: Value | None = None
    zero: Value | None = None
    minimum: Value | None = None
    magic_scale: Value | None = None


def load_group(
    level: Level, packing: str, panel: Pointer, block: Index, place: Index
) -> GroupWeights:
    """Load a group: `block` is the byte offset in the panel of its block of K, `place` its number
    in that block.
    """
    codes = load_codes(packing, panel, block, place)
    return load_scales(level, packing, panel, block, place, codes)


def load_codes(packing: str, panel: Pointer, block: Index, place: Index) -> GroupWeights:
    """Load only the bytes of a group, which is all that its dot products need."""
    if packing == "q4m":
        return GroupWeights(_nibbles(panel, block), 15)
    if packing == "q4z":
        return GroupWeights(_nibbles(panel, block + place * 256), 15)
    return GroupWeights(_biased(panel, block + place * 512), 255, 128)


def load_scales(
    level: Level, packing: str, panel: Pointer, block: Index, place: Index, codes: GroupWeights
) -> GroupWeights:
    """Load what belongs to a group besides its bytes, and return both."""
    if packing == "q8c":
        return codes
    if packing == "q4m":
        scale, minimum = (_half(level, panel, block + at) for at in (256, 288))
        return replace(codes, scale=scale, minimum=minimum)
    scale = _half(level, panel, block + place * 32 + 1024)
    if packing == "q8g":
        return replace(codes, scale=scale)
    zero_points = panel.load(I8.x(LANES), block + place * 16 + 1152, align=16)
    return replace(codes, scale=scale, zero=zero_points.to_unsigned(I32).to(F32))


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


def _half(level: Level, panel: Pointer, offset: Index) -> Value:
    return level.half_to_float(panel.load(I16.x(LANES), offset, align=32))


def _biased(panel: Pointer, offset: Index) -> tuple[Value, ...]:
    return tuple(panel.load(BYTES, offset + 64 * i, align=64) for i in range(QUADS))


def _nibbles(panel: Pointer, offset: Index) -> tuple[Value, ...]:
    packed = [panel.load(BYTES, offset + 64 * i, align=64) for i in range(QUADS // 2)]
    mask = constant(BYTES, 15)
    low = [vector & mask for vector in packed]
    shifted = [(vector.bitcast(I16.x(32)) >> 4).bitcast(BYTES) for vector in packed]
    return (*low, *(vector & mask for vector in shifted))
