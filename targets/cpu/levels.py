"""Instruction-set levels of x86-64 and the few operations that differ between them.

`avx2` and `avx512` compute the same bits; `generic` has no fused multiply-add and rounds twice.
`avx512bf16` is `avx512` but for the kernels that multiply bfloat16 numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .build import F16, F32, I32, Value, fused_multiply_add
from .dot import DotSum
from .dot_bf16 import multiply_pairs, widen_pairs


@dataclass(frozen=True)
class Level:
    """One instruction set.

    `features` are LLVM's names, without sign; `vector_bits` is the width of a register; `tune` is
    the processor whose timings LLVM schedules for.  `base` names the level whose object holds the
    kernels that are the same here; an object of this level holds only the others.
    """

    name: str
    features: tuple[str, ...]
    vector_bits: int
    tune: str
    base: str | None = None

    @property
    def bf16_dot(self) -> bool:
        """Whether one instruction multiplies and adds pairs of bfloat16.

        A kernel whose code depends on it says so by `Kernel.bf16`.
        """
        return "avx512bf16" in self.features

    @property
    def passthrough(self) -> dict[str, str]:
        """LLVM function attributes that pin the instruction set, whatever machine compiles."""
        width = str(self.vector_bits)
        return {
            "target-cpu": "x86-64",
            "target-features": ",".join(f"+{feature}" for feature in self.features),
            "tune-cpu": self.tune,
            "prefer-vector-width": width,
            "min-legal-vector-width": width,
        }

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Return a·b + c, rounded once where the level has FMA."""
        return fused_multiply_add(a, b, c) if "fma" in self.features else a * b + c

    def half_to_float(self, bits: Value) -> Value:
        """Return the finite f16 numbers whose bits are given as i16 lanes, as f32; exact."""
        lanes = bits.type.lanes
        if "f16c" in self.features:
            return bits.bitcast(F16.x(lanes)).to(F32)
        wide = bits.to_unsigned(I32)
        # Re-biasing the exponent by a multiplication is right for subnormal numbers too.
        magnitude = ((wide & 0x7FFF) << 13).bitcast(F32.x(lanes)) * 2.0**112
        sign = (wide & 0x8000) << 16
        return (magnitude.bitcast(I32.x(lanes)) | sign).bitcast(F32.x(lanes))

    def dot_sum(self, start: Value, limit: int = 255) -> DotSum:
        """Return a sum of exact dot products that begins at `start` (i32 lanes).

        What is added to it: weights, 4 bytes a lane in 0..`limit`, and activations, i32 lanes of 4
        bytes each in -127..127.  Lanes are 4, 8, 16 or more.
        """
        return DotSum.start(start, limit, self.features, self.vector_bits)

    def dot4(self, sums: Value, weights: Value, activations: Value, limit: int = 255) -> Value:
        """Add to each lane the product of four weights and four activations, as in `dot_sum`."""
        return self.dot(sums, [weights], [activations], limit)

    def dot(
        self, sums: Value, weights: Sequence[Value], activations: Sequence[Value], limit: int = 255
    ) -> Value:
        """Add several products; they are exact, so their order is free."""
        total = self.dot_sum(sums, limit)
        for w, a in zip(weights, activations, strict=True):
            total = total.add(w, a)
        return total.total()

    def dot_bf16(self, sums: Value, a: Value, b: Value) -> Value:
        """Add to each f32 lane the products of two pairs of bfloat16: odd[a]·odd[b], then the even.

        `a` and `b` are i32 lanes, the even element of a pair in the low half; a scalar serves all
        lanes.  Each product is added by a fused multiply-add, so that levels with FMA give the
        same bits, except that with `bf16_dot` subnormal numbers count as zero, as operands and as
        results (see `dot_bf16.multiply_pairs`).
        """
        if self.bf16_dot:
            return multiply_pairs(sums, a, b)
        (a_even, a_odd), (b_even, b_odd) = widen_pairs(a), widen_pairs(b)
        return self.fma(a_even, b_even, self.fma(a_odd, b_odd, sums))


_AVX2 = ("avx", "avx2", "f16c", "fma", "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt")
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")

GENERIC = Level("generic", (), 128, "generic")
AVX2 = Level("avx2", _AVX2, 256, "haswell")
AVX512 = Level("avx512", (*_AVX2, *_AVX512), 512, "znver4")
AVX512BF16 = Level("avx512bf16", (*_AVX2, *_AVX512, "avx512bf16"), 512, "znver4", base=AVX512.name)

LEVELS = (GENERIC, AVX2, AVX512, AVX512BF16)


def level_named(name: str) -> Level:
    """Return the level called `name`; `KeyError` where there is none."""
    return {level.name: level for level in LEVELS}[name]
