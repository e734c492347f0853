"""Products of queries with keys and of probabilities with values, as a cache's type has them.

In a bfloat16 cache queries and probabilities are rounded to bfloat16 too, so that one instruction
multiplies a pair of numbers where the level has it; other levels hold them widened, and add the
odd product of a pair before the even one, as that instruction does.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import F32, I8, I32, Pointer, Value
from ingot.targets.cpu.levels import Level

from .attention_shape import AttentionShape
from .elementwise_lanes import load_lanes

LANES = 16
VECTOR = F32.x(LANES)


def in_pairs(shape: AttentionShape, level: Level) -> bool:
    """Whether queries and probabilities are pairs of bfloat16 in scratch, else float32."""
    return shape.dtype == "bfloat16" and level.bf16_dot


def parts_of(shape: AttentionShape, level: Level, words: Value) -> Sequence[Value]:
    """Return what i32 lanes of keys, or of bfloat16 or float32 values, are multiplied as."""
    if in_pairs(shape, level):
        return [words]
    if shape.dtype == "float32":
        return [words.bitcast(VECTOR)]
    if shape.dtype == "bfloat16":
        return [(words << 16).bitcast(VECTOR), (words & 0xFFFF0000).bitcast(VECTOR)]
    signed = words ^ 0x80808080
    return [
        (signed << (24 - 8 * byte)).shift_right_signed(24).to(F32)
        if byte < 3
        else signed.shift_right_signed(24).to(F32)
        for byte in range(4)
    ]


def load_value(shape: AttentionShape, level: Level, place: Pointer, lanes: int) -> Sequence[Value]:
    """Return what `lanes` features of a step of values are multiplied as."""
    if shape.dtype == "int8":
        return [load_lanes(place, I8.x(LANES), lanes).to(F32)]
    return parts_of(shape, level, load_lanes(place, I32.x(LANES), lanes))


def add_product(
    shape: AttentionShape, level: Level, total: Value, factor: Pointer, parts: Sequence[Value]
) -> Value:
    """Add the products of `parts` and of the numbers at `factor`, 4 bytes for each part."""
    if in_pairs(shape, level):
        return level.dot_bf16(total, factor.load(I32), parts[0])
    order = range(len(parts))
    for part in reversed(order) if shape.dtype == "bfloat16" else order:
        total = level.fma(factor.load_splat(VECTOR, 4 * part), parts[part], total)
    return total
