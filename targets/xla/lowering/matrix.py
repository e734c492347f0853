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

    Where `start` is given, an int32 scalar, the matrix is the N rows from there on of larger ones.
    """

    parts: Mapping[str, Array]
    outputs: int
    columns: int
    factor: str
    start: Array | None = None

    @property
    def codes(self) -> Array:
        """The values, or the codes that stand for them."""
        return self.parts.get("") or self.parts["codes"]

    def rows(self, start: Array, count: int) -> "Matrix":
        """Return the `count` rows from an int32 scalar on."""
        first = start if self.start is None else self.start + start
        return Matrix(self.parts, count, self.columns, self.factor, first)

    def _own(self) -> "Matrix":
        """Return this matrix in arrays that hold nothing else."""
        if self.start is None:
            return self
        taken = {
            name: hlo.window(
                part,
                [self.start, *[0] * (len(part.shape) - 1)],
                [self.outputs, *part.shape[1:]],
            )
            for name, part in self.parts.items()
        }
        return Matrix(taken, self.outputs, self.columns, self.factor)

    def apply(self, x: Array) -> Array:
        """Return `x @ w.T`, float32 `[T, N]`, for x `[T, K]`."""
        own = self._own()
        codes, scales = own.codes, own.parts.get("scales")
        if scales is not None and len(scales.shape) == 2:
            return own._apply_groups(x.astype(self.factor), scales)
        y = hlo.dot(x.astype(self.factor), codes.astype(self.factor), ((1,), (1,)))
        return y if scales is None else y * scales

    def _apply_groups(self, x: Array, scales: Array) -> Array:
        outputs, groups = scales.shape
        x = hlo.pad(x, 1, self.codes.shape[1] - self.columns)
        x = x.reshape(x.shape[0], groups, -1)
        codes = self.codes.reshape(outputs, groups, -1).astype(self.factor)
        sums = hlo.dot(x, codes, ((2,), (2,)), ((1,), (1,)))
        wide = scales.astype("f32")
        y = (sums * wide.transpose(1, 0)[:, None]).sum(0)[0]
        beside = self._offsets(wide)
        if beside is None:
            return y
        totals = x.astype("f32").sum(2).reshape(x.shape[0], groups)
        return y + hlo.dot(totals, beside, ((1,), (1,)))

    def _offsets(self, scales: Array) -> Array | None:
        """Return what a group adds to each of its values, where it adds something."""
        shifts, minima = self.parts.get("shifts"), self.parts.get("minima")
        if shifts is not None:
            return scales * shifts.astype("f32")
        return None if minima is None else minima.astype("f32")

    def take(self, indices: Array) -> Array:
        """Return rows, decoded to float32 `[T, K]`, for indices `[T]`."""
        if self.start is not None:
            indices = indices + self.start
        parts = {name: hlo.take(part, indices) for name, part in self.parts.items()}
        taken = Matrix(parts, indices.shape[0], self.columns, self.factor)
        values = taken.codes.astype("f32")
        scales = parts.get("scales")
        if scales is None:
            return values
        wide = scales.astype("f32")
        if len(wide.shape) == 1:
            return values * wide[:, None]
        grouped = values.reshape(*wide.shape, -1) * wide[:, :, None]
        beside = taken._offsets(wide)
        if beside is not None:
            grouped = grouped + beside[:, :, None]
        return grouped.reshape(*values.shape)[:, : self.columns]
