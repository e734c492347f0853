"""Arrays of a program: values of known shape whose operators broadcast as numpy's do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo as hlo

Number = float | int


@dataclass(frozen=True, eq=False)
class Array:
    """A value of a program; all operators work element by element."""

    value: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.type.shape)

    @property
    def dtype(self) -> str:
        return str(self.value.type.element_type)

    def __add__(self, other: "Array | Number") -> "Array":
        return binary(hlo.add, self, other)

    def __radd__(self, other: Number) -> "Array":
        return binary(hlo.add, self, other)

    def __sub__(self, other: "Array | Number") -> "Array":
        return binary(hlo.subtract, self, other)

    def __rsub__(self, other: Number) -> "Array":
        return binary(hlo.subtract, full((), other, self.dtype), self)

    def __mul__(self, other: "Array | Number") -> "Array":
        return binary(hlo.multiply, self, other)

    def __rmul__(self, other: Number) -> "Array":
        return binary(hlo.multiply, self, other)

    def __truediv__(self, other: "Array | Number") -> "Array":
        return binary(hlo.divide, self, other)

    def __rtruediv__(self, other: Number) -> "Array":
        return binary(hlo.divide, full((), other, self.dtype), self)

    def __floordiv__(self, other: "Array | Number") -> "Array":
        """Return the quotient of integers, which must not be negative."""
        return binary(hlo.divide, self, other)

    def __mod__(self, other: "Array | Number") -> "Array":
        """Return the remainder of integers, which must not be negative."""
        return binary(hlo.remainder, self, other)

    def __and__(self, other: "Array") -> "Array":
        return binary(hlo.and_, self, other)

    def __or__(self, other: "Array") -> "Array":
        return binary(hlo.or_, self, other)

    def __invert__(self) -> "Array":
        return Array(hlo.not_(self.value))

    def __neg__(self) -> "Array":
        return Array(hlo.negate(self.value))

    def __lt__(self, other: "Array | Number") -> "Array":
        return _compare("LT", self, other)

    def __le__(self, other: "Array | Number") -> "Array":
        return _compare("LE", self, other)

    def __gt__(self, other: "Array | Number") -> "Array":
        return _compare("GT", self, other)

    def __ge__(self, other: "Array | Number") -> "Array":
        return _compare("GE", self, other)

    def equals(self, other: "Array | Number") -> "Array":
        """Return where both are equal, i1."""
        return _compare("EQ", self, other)

    def __getitem__(self, places: slice | int | tuple[slice | int | None, ...] | None) -> "Array":
        """Take ranges with known bounds, single places (the dimension goes), None for a new one."""
        given = places if isinstance(places, tuple) else (places,)
        ranges, shape, sizes = [], [], iter(self.shape)
        for place in given:
            if place is None:
                shape.append(1)
                continue
            size = next(sizes)
            if isinstance(place, int):
                ranges.append((place % size, place % size + 1, 1))
                continue
            ranges.append(place.indices(size))
            shape.append(len(range(*ranges[-1])))
        rest = list(sizes)
        ranges += [(0, size, 1) for size in rest]
        taken = self
        if any(r != (0, size, 1) for r, size in zip(ranges, self.shape, strict=True)):
            taken = Array(hlo.slice(self.value, *map(list, zip(*ranges, strict=True))))
        return taken.reshape(*shape, *rest)

    def reshape(self, *shape: int) -> "Array":
        """Return the same elements, row-major, in another shape; one size may be -1."""
        if -1 in shape:
            known = -prod(shape)
            shape = tuple(prod(self.shape) // known if size == -1 else size for size in shape)
        if shape == self.shape:
            return self
        assert prod(shape) == prod(self.shape), f"{self.shape} as {shape}"
        return Array(hlo.reshape(type_of(shape, self.dtype), self.value))

    def transpose(self, *order: int) -> "Array":
        """Return the array with its dimensions in another order."""
        if order == tuple(range(len(self.shape))):
            return self
        return Array(hlo.transpose(self.value, list(order)))

    def astype(self, dtype: str) -> "Array":
        """Return the elements converted."""
        if dtype == self.dtype:
            return self
        return Array(hlo.convert(type_of(self.shape, dtype), self.value))

    def broadcast(self, *shape: int) -> "Array":
        """Return the array stretched to `shape`, aligned at the right."""
        if shape == self.shape:
            return self
        first = len(shape) - len(self.shape)
        kept = [i for i, size in enumerate(self.shape) if size == shape[first + i]]
        core = self.reshape(*(self.shape[i] for i in kept))
        places = [first + i for i in kept]
        return Array(hlo.broadcast_in_dim(type_of(shape, self.dtype), core.value, places))

    def sum(self, axis: int = -1) -> "Array":
        """Return the sum over a dimension, which stays with size 1."""
        return _reduce(hlo.add, self, 0, axis)

    def max(self, axis: int = -1) -> "Array":
        """Return the maximum over a dimension, which stays with size 1."""
        return _reduce(hlo.maximum, self, _least(self.dtype), axis)

    def min(self, axis: int = -1) -> "Array":
        """Return the minimum of integers over a dimension, which stays with size 1."""
        return _reduce(hlo.minimum, self, (1 << 31) - 1, axis)


def full(shape: Sequence[int], value: Number, dtype: str = "f32") -> Array:
    """Return an array that holds one number everywhere."""
    element = element_of(dtype)
    floats = isinstance(element, ir.F32Type | ir.BF16Type | ir.F16Type)
    number = ir.FloatAttr.get(element, value) if floats else ir.IntegerAttr.get(element, int(value))
    return Array(hlo.constant(ir.DenseElementsAttr.get_splat(type_of(shape, dtype), number)))


def element_of(dtype: str) -> Any:
    return ir.Type.parse(dtype)


def type_of(shape: Sequence[int], dtype: str) -> Any:
    return ir.RankedTensorType.get(list(shape), element_of(dtype))


def array_of(x: Array | Number, dtype: str) -> Array:
    return x if isinstance(x, Array) else full((), x, dtype)


def _together(x: Array, y: Array | Number) -> tuple[Array, Array]:
    if not isinstance(y, Array):
        return x, full(x.shape, y, x.dtype)
    assert x.dtype == y.dtype, f"{x.dtype} with {y.dtype}"
    shape = np.broadcast_shapes(x.shape, y.shape)
    return x.broadcast(*shape), y.broadcast(*shape)


def binary(function: Callable[[Any, Any], Any], x: Array, y: Array | Number) -> Array:
    x, y = _together(x, y)
    return Array(function(x.value, y.value))


def _compare(direction: str, x: Array, y: Array | Number) -> Array:
    x, y = _together(x, y)
    return Array(hlo.compare(x.value, y.value, hlo.ComparisonDirectionAttr.get(direction)))


def _least(dtype: str) -> Number:
    return -(1 << 31) if dtype == "i32" else float("-inf")


def _reduce(function: Callable[[Any, Any], Any], x: Array, start: Number, axis: int) -> Array:
    axis %= len(x.shape)
    left = x.shape[:axis] + x.shape[axis + 1 :]
    first = full((), start, x.dtype)
    made = hlo.ReduceOp([type_of(left, x.dtype)], [x.value], [first.value], [axis])
    fold_into(made.regions[0], x.dtype, function)
    return Array(made.results[0]).reshape(*x.shape[:axis], 1, *x.shape[axis + 1 :])


def fold_into(region: Any, dtype: str, function: Callable[[Any, Any], Any] = hlo.add) -> None:
    scalar = type_of((), dtype)
    block = region.blocks.append(scalar, scalar)
    with ir.InsertionPoint(block):
        hlo.return_([function(*block.arguments)])
