"""Matrices of weights in a program: multiplying by them, and reading rows of them.

Codes become factors only inside the product that reads them, in forms that XLA fuses: a matrix of
int8 rows is converted as it is multiplied and the sums are scaled; a group-wise matrix gives a sum
for each group, which is scaled and added to the others.  So no widened copy of it is ever stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

ELEMENT = {
    "float32": "f32",
    "bfloat16": "bf16",
    "float16": "f16",
    "int32": "i32",
    "int8": "i8",
    "int4": "i4",
}
"""The element type in a program of each type that an array is packed in."""


@dataclass(frozen=True)
class Matrix:
    """A matrix `[N, K]` as the arrays of its packing; `factor` is the type that is multiplied.

    Where `place` is given, an int32 scalar, the arrays hold `count` such matrices one after the
    other along their first dimension, and this is the one at that place.
    """

    parts: Mapping[str, Array]
    outputs: int
    columns: int
    factor: str
    count: int = 1
    place: Array | None = None

    def part(self, number: Array, parts: int) -> "Matrix":
        """Return one of `parts` matrices that are one below the other in this one."""
        place = number if self.place is None else self.place * parts + number
        outputs, count = self.outputs // parts, self.count * parts
        return Matrix(self.parts, outputs, self.columns, self.factor, count, place)

    def apply(self, x: Array) -> Array:
        """Return `x @ w.T`, float32 `[T, N]`, for x `[T, K]`."""
        own = {name: self._own(array) for name, array in self.parts.items()}
        codes, scales = own.get("") or own["codes"], own.get("scales")
        x = x.astype(self.factor)
        if scales is not None and len(scales.shape) == 2:
            return _apply_groups(x, codes.astype(self.factor), scales.astype("f32"), own)
        y = hlo.dot(x, codes.astype(self.factor), ((1,), (1,)))
        return y if scales is None else y * scales

    def apply_codes(self, codes: Array, scales: Array) -> Array:
        """Return the product with a matrix of int8 rows, for codes `[T, K]` and scales `[T, 1]`."""
        own = {name: self._own(array) for name, array in self.parts.items()}
        sums = hlo.dot(codes.astype("i8"), own["codes"], ((1,), (1,)), dtype="i32")
        return sums.astype("f32") * scales * own["scales"]

    def _own(self, array: Array) -> Array:
        """Return what is this matrix's of an array."""
        if self.place is None:
            return array
        size = array.shape[0] // self.count
        starts: list[Array | int] = [self.place * size, *[0] * (len(array.shape) - 1)]
        return hlo.window(array, starts, [size, *array.shape[1:]])

    def take(self, indices: Array) -> Array:
        """Return rows of a table, decoded to float32 `[T, K]`, for indices `[T]`."""
        if self.place is not None:
            indices = indices + self.place * self.outputs
        own = {name: hlo.take(array, indices) for name, array in self.parts.items()}
        values = (own.get("") or own["codes"]).astype("f32")
        scales = own.get("scales")
        if scales is None:
            return values
        wide = scales.astype("f32")
        if len(wide.shape) == 1:
            return values * wide[:, None]
        grouped = values.reshape(*wide.shape, -1) * wide[:, :, None]
        beside = _offsets(own, wide)
        if beside is not None:
            grouped = grouped + beside[:, :, None]
        return grouped.reshape(*values.shape)[:, : self.columns]


def _apply_groups(x: Array, codes: Array, scales: Array, own: Mapping[str, Array]) -> Array:
    """Return the product with codes `[G, g, N]`, scales `[G, N]` and what is beside them."""
    rows, (groups, size, _) = x.shape[0], codes.shape
    x = hlo.pad(x, 1, groups * size - x.shape[1]).reshape(rows, groups, size)
    sums = hlo.dot(x, codes, ((2,), (1,)), ((1,), (0,)))
    y = (sums * scales[:, None]).sum(0)[0]
    beside = _offsets(own, scales)
    if beside is None:
        return y
    totals = x.astype("f32").sum(2).reshape(rows, groups)
    return y + hlo.dot(totals, beside, ((1,), (0,)))


def _offsets(own: Mapping[str, Array], scales: Array) -> Array | None:
    """Return what a group adds to each of its values, where it adds something."""
    shifts, minima = own.get("shifts"), own.get("minima")
    if shifts is not None:
        return scales * shifts.astype("f32")
    # Codes are signed, minima are those of unsigned codes.
    return None if minima is None else minima.astype("f32") + scales * 8.0
