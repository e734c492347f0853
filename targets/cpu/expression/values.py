"""SSA values with Python operators, constants and broadcasts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

from ingot.ir import arith, ir, llvm, vector

from .types import I1, Type

Number = Union["Value", int, float]

_COMPARISONS = {"==": 0, "!=": 1, "<": 2, "<=": 3, ">": 4, ">=": 5}
_UNSIGNED = {"<": 6, "<=": 7, ">": 8, ">=": 9}
_FLOAT_COMPARISONS = {"==": 1, ">": 2, ">=": 3, "<": 4, "<=": 5, "!=": 13}


@dataclass(frozen=True, eq=False)
class Value:
    """An SSA value and its type."""

    mlir: Any
    type: Type

    def _same(self, other: Number) -> "Value":
        if not isinstance(other, Value):
            return constant(self.type, other)
        if self.type.lanes and not other.type.lanes:
            other = splat(other, self.type.lanes)
        assert other.type == self.type, f"{self.type} beside {other.type}"
        return other

    def _binary(self, other: Number, integer: Any, floating: Any = None) -> "Value":
        if isinstance(other, Value) and other.type.lanes and not self.type.lanes:
            return splat(self, other.type.lanes)._binary(other, integer, floating)
        right = self._same(other)
        build = floating if self.type.is_float else integer
        assert build is not None, f"no such operation on {self.type}"
        return Value(build(self.mlir, right.mlir), self.type)

    def __add__(self, other: Number) -> "Value":
        return self._binary(other, arith.addi, arith.addf)

    def __sub__(self, other: Number) -> "Value":
        return self._binary(other, arith.subi, arith.subf)

    def __mul__(self, other: Number) -> "Value":
        return self._binary(other, arith.muli, arith.mulf)

    def __truediv__(self, other: Number) -> "Value":
        return self._binary(other, None, arith.divf)

    def __floordiv__(self, other: Number) -> "Value":
        """Signed division, rounded to zero."""
        return self._binary(other, arith.divsi)

    def __mod__(self, other: Number) -> "Value":
        """Remainder of the signed division; it has the sign of the left operand."""
        return self._binary(other, arith.remsi)

    def __and__(self, other: Number) -> "Value":
        return self._binary(other, arith.andi)

    def __or__(self, other: Number) -> "Value":
        return self._binary(other, arith.ori)

    def __xor__(self, other: Number) -> "Value":
        return self._binary(other, arith.xori)

    def __lshift__(self, other: Number) -> "Value":
        return self._binary(other, arith.shli)

    def __rshift__(self, other: Number) -> "Value":
        """Shift right, zeros come in."""
        return self._binary(other, arith.shrui)

    def shift_right_signed(self, other: Number) -> "Value":
        """Shift right, copies of the sign come in."""
        return self._binary(other, arith.shrsi)

    def __radd__(self, other: Number) -> "Value":
        return self._same(other) + self

    def __rsub__(self, other: Number) -> "Value":
        return self._same(other) - self

    def __rmul__(self, other: Number) -> "Value":
        return self._same(other) * self

    def __rtruediv__(self, other: Number) -> "Value":
        return self._same(other) / self

    def __neg__(self) -> "Value":
        if self.type.is_float:
            return Value(arith.negf(self.mlir), self.type)
        return constant(self.type, 0) - self

    def _compare(self, other: Number, name: str) -> "Value":
        if self.type.is_float:
            op, predicate = arith.cmpf, _FLOAT_COMPARISONS[name]
        else:
            op, predicate = arith.cmpi, _COMPARISONS[name]
        result = op(predicate, self.mlir, self._same(other).mlir)
        return Value(result, I1.x(self.type.lanes))

    def __lt__(self, other: Number) -> "Value":
        return self._compare(other, "<")

    def __le__(self, other: Number) -> "Value":
        return self._compare(other, "<=")

    def __gt__(self, other: Number) -> "Value":
        return self._compare(other, ">")

    def __ge__(self, other: Number) -> "Value":
        return self._compare(other, ">=")

    def equals(self, other: Number) -> "Value":
        """Compare for equality (`==` keeps Python's meaning, so that values can be put in sets)."""
        return self._compare(other, "==")

    def differs(self, other: Number) -> "Value":
        """Compare for inequality; for floats true also where one is NaN."""
        return self._compare(other, "!=")

    def below(self, other: Number) -> "Value":
        """Compare `self < other` as unsigned integers."""
        result = arith.cmpi(_UNSIGNED["<"], self.mlir, self._same(other).mlir)
        return Value(result, I1.x(self.type.lanes))

    def bitcast(self, to: Type) -> "Value":
        """Return the same bits as another type of the same size."""
        assert to.size == self.type.size, f"{self.type} as {to}"
        if self.type == to:
            return self
        op = vector.bitcast if self.type.lanes and to.lanes else llvm.bitcast
        return Value(op(to.mlir(), self.mlir), to)

    def to(self, element: Type, signed: bool = True) -> "Value":
        """Convert every element to `element`: integers extended or truncated, integers to floats
        and back (rounded to zero), floats widened or rounded to nearest even.

        f16 needs F16C in hardware: kernels convert it through their `Level`.
        """
        to = element.x(self.type.lanes)
        if to == self.type:
            return self
        op = _conversion(self.type, to, signed)
        return Value(op(to.mlir(), self.mlir), to)

    def to_unsigned(self, element: Type) -> "Value":
        """Convert like `to`, but reading (or making) unsigned integers."""
        return self.to(element, signed=False)

    def lane(self, index: int) -> "Value":
        """Return one element of a vector."""
        return Value(vector.extract(self.mlir, [], [index]), self.type.scalar)

    def lanes(self, start: int, count: int) -> "Value":
        """Return `count` neighbouring elements of a vector as a vector."""
        return shuffle(self, self, range(start, start + count))


def _conversion(source: Type, to: Type, signed: bool) -> Any:
    if source.is_float and to.is_float:
        return arith.extf if to.bits > source.bits else arith.truncf
    if source.is_float:
        return arith.fptosi if signed else arith.fptoui
    if to.is_float:
        return arith.sitofp if signed else arith.uitofp
    if to.bits < source.bits:
        return arith.trunci
    return arith.extsi if signed else arith.extui


def constant(type_: Type, number: Number | Sequence[int | float]) -> Value:
    """Return a constant: a number in every lane, or a sequence of one number a lane."""
    if isinstance(number, Value):
        return number._same(number)
    if isinstance(number, Sequence):
        assert len(number) == type_.lanes
        elements = [_attribute(type_.scalar, item) for item in number]
        attribute = ir.DenseElementsAttr.get(elements, type_.mlir())
    elif type_.lanes:
        attribute = ir.DenseElementsAttr.get_splat(type_.mlir(), _attribute(type_.scalar, number))
    else:
        attribute = _attribute(type_, number)
    return Value(arith.constant(type_.mlir(), attribute), type_)


def _attribute(type_: Type, number: int | float) -> Any:
    if type_.is_float:
        return ir.FloatAttr.get(type_.mlir(), float(number))
    assert isinstance(number, int), f"{number!r} as {type_}"
    bits = number & ((1 << type_.bits) - 1)
    signed = bits - (1 << type_.bits) if bits >> (type_.bits - 1) else bits
    return ir.IntegerAttr.get(type_.mlir(), number if type_ == I1 else signed)


def splat(value: Value, lanes: int) -> Value:
    """Return a vector with a scalar in every lane."""
    to = value.type.x(lanes)
    return Value(vector.broadcast(to.mlir(), value.mlir), to)


def shuffle(first: Value, second: Value, order: Sequence[int]) -> Value:
    """Return the elements of `first` followed by `second` at the places in `order`."""
    to = first.type.x(len(order))
    return Value(vector.shuffle(first.mlir, second.mlir, list(order)), to)
