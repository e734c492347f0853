"""Instruction-set levels of x86-64 and the few operations that differ between them.

`avx2` and `avx512` compute the same bits; `generic` has no fused multiply-add and rounds twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .build import (
    F16,
    F32,
    I8,
    I16,
    I32,
    Type,
    Value,
    concat,
    constant,
    fused_multiply_add,
    intrinsic,
)

_LARGEST_ACTIVATION = 127


@dataclass(frozen=True)
class Level:
    """One instruction set.

    `features` are LLVM's names, without sign; `vector_bits` is the width of a register; `tune` is
    the processor whose timings LLVM schedules for.
    """

    name: str
    features: tuple[str, ...]
    vector_bits: int
    tune: str

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

    def dot4(self, sums: Value, weights: Value, activations: Value, limit: int = 255) -> Value:
        """Add to each lane the exact dot product of four u8 weights and four s8 activations.

        `sums` has n i32 lanes, `weights` 4n bytes (0..`limit`), `activations` n i32 lanes, each
        four bytes in -127..127; n is 4, 8, 16 or more.
        """
        return self.dot(sums, [weights], [activations], limit)

    def dot(
        self, sums: Value, weights: Sequence[Value], activations: Sequence[Value], limit: int = 255
    ) -> Value:
        """Add several products as in `dot4`; exact, so their order is free."""
        native = self.vector_bits // 32
        lanes = sums.type.lanes
        if lanes <= native:
            return self._dot_native(sums, weights, activations, limit)
        parts = [
            self._dot_native(
                sums.lanes(i, native),
                [w.lanes(4 * i, 4 * native) for w in weights],
                [a.lanes(i, native) for a in activations],
                limit,
            )
            for i in range(0, lanes, native)
        ]
        return concat(*parts)

    def _dot_native(
        self, sums: Value, weights: Sequence[Value], activations: Sequence[Value], limit: int
    ) -> Value:
        bytes_ = [a.bitcast(I8.x(4 * a.type.lanes)) for a in activations]
        if "avx512vnni" in self.features:
            for w, a in zip(weights, bytes_, strict=True):
                sums = _vpdpbusd(sums, w, a)
            return sums
        safe = 32767 // (2 * limit * _LARGEST_ACTIVATION)
        if "avx2" in self.features and safe:
            for i in range(0, len(bytes_), safe):
                sums = sums + _saturating_chain(weights[i : i + safe], bytes_[i : i + safe])
            return sums
        for w, a in zip(weights, bytes_, strict=True):
            sums = sums + _widened(w, a)
        return sums


def _vpdpbusd(sums: Value, weights: Value, activations: Value) -> Value:
    bits = 32 * sums.type.lanes
    return intrinsic(f"llvm.x86.avx512.vpdpbusd.{bits}", sums.type, sums, weights, activations)


def _saturating_chain(weights: Sequence[Value], activations: Sequence[Value]) -> Value:
    """vpmaddubsw saturates at 16 bits: the caller has chosen a number of terms that cannot."""
    wide = I16.x(weights[0].type.lanes // 2)
    products = [
        intrinsic("llvm.x86.avx2.pmadd.ub.sw", wide, w, a)
        for w, a in zip(weights, activations, strict=True)
    ]
    total = products[0]
    for product in products[1:]:
        total = total + product
    return _pairs(total, constant(wide, 1))


def _widened(weights: Value, activations: Value) -> Value:
    """Bytes at even and odd places apart, as 16-bit numbers in place: no lane is moved."""
    pairs = I16.x(weights.type.lanes // 2)
    w, a = weights.bitcast(pairs), activations.bitcast(pairs)
    even = _pairs(w & 0x00FF, (a << 8).shift_right_signed(8))
    odd = _pairs(w >> 8, a.shift_right_signed(8))
    return even + odd


def _pairs(a: Value, b: Value) -> Value:
    sums = I32.x(a.type.lanes // 2)
    name = {16: "avx2", 8: "sse2"}[a.type.lanes]
    return intrinsic(f"llvm.x86.{name}.pmadd.wd", sums, a, b)


_AVX2 = ("avx", "avx2", "f16c", "fma", "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt")
_AVX512 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512vnni")

GENERIC = Level("generic", (), 128, "generic")
AVX2 = Level("avx2", _AVX2, 256, "haswell")
AVX512 = Level("avx512", (*_AVX2, *_AVX512), 512, "znver4")

LEVELS = (GENERIC, AVX2, AVX512)


def level_named(name: str) -> Level:
    """Return the level called `name`; `KeyError` where there is none."""
    return {level.name: level for level in LEVELS}[name]


def vector_type(element: Type, level: Level) -> Type:
    """Return the vector of `element` that fills one register of the level."""
    return element.x(level.vector_bits // element.bits)
