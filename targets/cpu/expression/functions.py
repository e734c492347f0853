"""Functions of values: selection, shuffles, reductions in a fixed order, rounding, intrinsics."""

from collections.abc import Callable

from ingot.ir import arith, llvm, math

from .types import F32, I16, I32, Type
from .values import Number, Value, constant, shuffle


def iota(type_: Type) -> Value:
    """Return the vector 0, 1, 2 … of an integer type."""
    return constant(type_, list(range(type_.lanes)))


def concat(*parts: Value) -> Value:
    """Join 1, 2, 4 … vectors of one type into one vector."""
    while len(parts) > 1:
        order = range(2 * parts[0].type.lanes)
        parts = tuple(shuffle(a, b, order) for a, b in zip(parts[::2], parts[1::2], strict=True))
    return parts[0]


def select(condition: Value, then: Value, otherwise: Number) -> Value:
    """Return `then` where the condition (i1, scalar or per lane) holds, else `otherwise`."""
    other = then._same(otherwise)
    return Value(arith.select(condition.mlir, then.mlir, other.mlir), then.type)


def maximum(a: Value, b: Number) -> Value:
    """Return the larger; where either is NaN, `b` (one instruction on every x86)."""
    return select(a > b, a, b)


def minimum(a: Value, b: Number) -> Value:
    """Return the smaller; where either is NaN, `b`."""
    return select(a < b, a, b)


def absolute(a: Value) -> Value:
    """Return |a| of floats."""
    return Value(math.absf(a.mlir), a.type)


def square_root(a: Value) -> Value:
    """Return the correctly rounded square root."""
    return Value(math.sqrt(a.mlir), a.type)


def fused_multiply_add(a: Value, b: Value, c: Value) -> Value:
    """Return a·b + c rounded once; kernels call `Level.fma`, which knows machines without it."""
    a, b = c._same(a), c._same(b)
    return Value(math.fma(a.mlir, b.mlir, c.mlir), c.type)


def round_half_even(a: Value) -> Value:
    """Round floats with |a| < 2^22 to the nearest i32, halves to even.

    Adding 1.5·2^23 leaves the integer in the low bits of the sum: no instruction set is needed and
    no library is called.
    """
    magic = 12582912.0
    integers = I32.x(a.type.lanes)
    return (a + magic).bitcast(integers) - constant(F32, magic).bitcast(I32)


def reduce(value: Value, combine: Callable[[Value, Value], Value]) -> Value:
    """Reduce a vector of 2^n lanes to a scalar: lane i with lane i + half, and so on down."""
    while value.type.lanes > 1:
        half = value.type.lanes // 2
        value = combine(value.lanes(0, half), value.lanes(half, half))
    return value.lane(0)


def reduce_add(value: Value) -> Value:
    """Add up the lanes in the fixed order of `reduce`."""
    return reduce(value, lambda a, b: a + b)


def reduce_max(value: Value) -> Value:
    """Return the largest lane."""
    return reduce(value, maximum)


def intrinsic(name: str, result: Type, *arguments: Value) -> Value:
    """Call an LLVM intrinsic."""
    operands = [argument.mlir for argument in arguments]
    called = llvm.call_intrinsic(result.mlir(), name, operands, [], [])
    return Value(called, result)


def widen_bf16(bits: Value) -> Value:
    """Return the floats whose bfloat16 bits are given as i16."""
    wide = bits.to_unsigned(I32) << 16
    return wide.bitcast(F32.x(bits.type.lanes))


def narrow_to_bf16(value: Value) -> Value:
    """Return the bfloat16 bits (i16) of finite floats, rounded to nearest even."""
    bits = value.bitcast(I32.x(value.type.lanes))
    rounded = bits + ((bits >> 16) & 1) + 0x7FFF
    return (rounded >> 16).to(I16)
