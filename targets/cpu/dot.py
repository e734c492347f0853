"""Exact dot products of bytes on x86, four of K to a lane, by what each instruction set offers.

* VNNI multiplies and adds four pairs at once (`vpdpbusd`).
* AVX2 multiplies unsigned by signed bytes and adds pairs to 16 bits, saturating (`vpmaddubsw`):
where the
  weights are small enough, several such vectors are added before they are widened.
* Otherwise bytes at even and odd places are widened to 16 bits in place (`pmaddwd`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .build import I8, I16, I32, Value, concat, constant, intrinsic

_LARGEST_ACTIVATION = 127
_LARGEST_WORD = 32767


@dataclass(frozen=True, eq=False)
class DotSum:
    """An i32 vector to which dot products are added, in pieces as wide as the registers.

    `words` are 16-bit sums of `terms` products that are not yet in `sums`; `safe` is how many
    products such a sum can hold, 0 where none is kept.
    """

    sums: tuple[Value, ...]
    vnni: bool
    safe: int
    words: tuple[Value, ...] = ()
    terms: int = 0

    @classmethod
    def start(cls, start: Value, limit: int, features: Sequence[str], bits: int) -> "DotSum":
        """Return the sum that begins at `start`, for weights up to `limit`."""
        native = min(bits // 32, start.type.lanes)
        pieces = tuple(start.lanes(i, native) for i in range(0, start.type.lanes, native))
        safe = _LARGEST_WORD // (2 * limit * _LARGEST_ACTIVATION) if "avx2" in features else 0
        return cls(pieces, "avx512vnni" in features, safe if native == 8 else 0)

    def add(self, weights: Value, activations: Value) -> "DotSum":
        """Add products: `weights` unsigned bytes, `activations` signed bytes as i32 lanes."""
        native = self.sums[0].type.lanes
        starts = range(0, activations.type.lanes, native)
        w = [weights.lanes(4 * i, 4 * native) for i in starts]
        a = [activations.lanes(i, native).bitcast(I8.x(4 * native)) for i in starts]
        if self.vnni:
            return replace(self, sums=tuple(map(_vpdpbusd, self.sums, w, a)))
        if not self.safe:
            return replace(self, sums=tuple(map(_add_widened, self.sums, w, a)))
        ready = self._flushed() if self.terms == self.safe else self
        words = tuple(map(_vpmaddubsw, w, a))
        if ready.terms:
            words = tuple(x + y for x, y in zip(ready.words, words, strict=True))
        return replace(ready, words=words, terms=ready.terms + 1)

    def total(self) -> Value:
        """Return the sum as one vector."""
        return concat(*self._flushed().sums)

    def _flushed(self) -> "DotSum":
        if not self.terms:
            return self
        ones = constant(self.words[0].type, 1)
        sums = tuple(s + _pairs(w, ones) for s, w in zip(self.sums, self.words, strict=True))
        return replace(self, sums=sums, words=(), terms=0)


def _vpdpbusd(sums: Value, weights: Value, activations: Value) -> Value:
    bits = 32 * sums.type.lanes
    return intrinsic(f"llvm.x86.avx512.vpdpbusd.{bits}", sums.type, sums, weights, activations)


def _vpmaddubsw(weights: Value, activations: Value) -> Value:
    return intrinsic("llvm.x86.avx2.pmadd.ub.sw", I16.x(16), weights, activations)


def _add_widened(sums: Value, weights: Value, activations: Value) -> Value:
    """Bytes at even and odd places apart, as 16-bit numbers in place: no lane is moved."""
    pairs = I16.x(weights.type.lanes // 2)
    w, a = weights.bitcast(pairs), activations.bitcast(pairs)
    even = _pairs(w & 0x00FF, (a << 8).shift_right_signed(8))
    odd = _pairs(w >> 8, a.shift_right_signed(8))
    return sums + even + odd


def _pairs(a: Value, b: Value) -> Value:
    sums = I32.x(a.type.lanes // 2)
    name = {16: "avx2", 8: "sse2"}[a.type.lanes]
    return intrinsic(f"llvm.x86.{name}.pmadd.wd", sums, a, b)
