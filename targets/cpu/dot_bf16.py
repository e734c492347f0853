"""Products of pairs of bfloat16 on x86: by one instruction, or widened to float32."""

from .build import BF16, F32, Value, concat, intrinsic, splat

_LARGEST_LANES = 16


def multiply_pairs(sums: Value, a: Value, b: Value) -> Value:
    """Add the products of pairs (i32 lanes) to f32 `sums`, 4, 8 or a multiple of 16 lanes.

    `vdpbf16ps` (Intel, Software Developer's Manual, volume 2) adds the product of the odd elements,
    then that of the even ones, each as a fused multiply-add: rounded once, to nearest even.
    Whatever MXCSR says, subnormal operands count as zero and a subnormal sum becomes zero, after
    each of the two additions; other sums are those of FMA bit for bit, as a comparison with it on
    a Zen 4 found.
    """
    lanes = sums.type.lanes
    a, b = (splat(x, lanes) if not x.type.lanes else x for x in (a, b))
    native = min(lanes, _LARGEST_LANES)
    name, pairs = f"llvm.x86.avx512bf16.dpbf16ps.{32 * native}", BF16.x(2 * native)
    parts = []
    for start in range(0, lanes, native):
        part, x, y = (value.lanes(start, native) for value in (sums, a, b))
        parts.append(intrinsic(name, part.type, part, x.bitcast(pairs), y.bitcast(pairs)))
    return concat(*parts)


def widen_pairs(pairs: Value) -> tuple[Value, Value]:
    """Return the even and the odd elements of pairs (i32, scalar or lanes) as float32; exact."""
    floats = F32.x(pairs.type.lanes)
    return (pairs << 16).bitcast(floats), (pairs & 0xFFFF0000).bitcast(floats)
