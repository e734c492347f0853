"""Functions of arrays, as numpy has them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo as hlo

from .array import Array, Number, array_of, binary, full, type_of


def _unary(function: Callable[[Any], Any]) -> Callable[[Array], Array]:
    return lambda x: Array(function(x.value))


exp, log, log1p = _unary(hlo.exponential), _unary(hlo.log), _unary(hlo.log_plus_one)
tanh, sigmoid, rsqrt = _unary(hlo.tanh), _unary(hlo.logistic), _unary(hlo.rsqrt)
cos, sin, sqrt, absolute = _unary(hlo.cosine), _unary(hlo.sine), _unary(hlo.sqrt), _unary(hlo.abs)
round_half_even = _unary(hlo.round_nearest_even)


def maximum(x: Array, y: Array | Number) -> Array:
    """Return the larger of both, element by element."""
    return binary(hlo.maximum, x, y)


def minimum(x: Array, y: Array | Number) -> Array:
    """Return the smaller of both, element by element."""
    return binary(hlo.minimum, x, y)


def where(condition: Array, x: Array | Number, y: Array | Number) -> Array:
    """Return x where the condition (i1) holds, else y; one of both is an array."""
    dtype = x.dtype if isinstance(x, Array) else y.dtype if isinstance(y, Array) else ""
    x, y = array_of(x, dtype), array_of(y, dtype)
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    given = (one.broadcast(*shape).value for one in (condition, x, y))
    return Array(hlo.select(*given))


def constant(values: "np.ndarray[Any, np.dtype[Any]]") -> Array:
    """Return the array of some int32 or float32 numbers."""
    return Array(hlo.constant(ir.DenseElementsAttr.get(np.ascontiguousarray(values))))


def arange(size: int, shape: Sequence[int] = (), axis: int = 0) -> Array:
    """Return 0 … size - 1 as int32, along dimension `axis` of `shape` if that is given."""
    return Array(hlo.iota(type_of(shape or (size,), "i32"), axis))


def concatenate(arrays: Sequence[Array], axis: int) -> Array:
    """Return the arrays one after the other along a dimension."""
    if len(arrays) == 1:
        return arrays[0]
    return Array(hlo.concatenate([one.value for one in arrays], axis % len(arrays[0].shape)))


def pad(x: Array, axis: int, after: int, value: Number = 0) -> Array:
    """Return x with `after` more places at the end of a dimension."""
    if not after:
        return x
    zeros, more = [0] * len(x.shape), [0] * len(x.shape)
    more[axis] = after
    return Array(hlo.pad(x.value, full((), value, x.dtype).value, zeros, more, zeros))


def dot(
    x: Array,
    y: Array,
    contract: tuple[Sequence[int], Sequence[int]],
    batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
    dtype: str = "f32",
) -> Array:
    """Return sums of products over the `contract` dimensions, in `dtype`.

    Dimensions of the result: those of `batch`, what is left of x, what is left of y.
    """
    gone_x, gone_y = {*contract[0], *batch[0]}, {*contract[1], *batch[1]}
    shape = [x.shape[i] for i in batch[0]]
    shape += [size for i, size in enumerate(x.shape) if i not in gone_x]
    shape += [size for i, size in enumerate(y.shape) if i not in gone_y]
    numbers = hlo.DotDimensionNumbers.get(*map(list, (*batch, *contract)))
    # By default a matrix unit rounds float32 factors to bfloat16.
    precise = ir.ArrayAttr.get([hlo.PrecisionAttr.get("HIGHEST")] * 2)
    config = precise if "f32" in (x.dtype, y.dtype) else None
    kind = type_of(shape, dtype)
    return Array(hlo.dot_general(kind, x.value, y.value, numbers, precision_config=config))


def take(x: Array, indices: Array) -> Array:
    """Return rows of x `[N, …]` as `[*indices.shape, …]`; indices outside go to the nearest."""
    window = list(range(len(indices.shape), len(indices.shape) + len(x.shape) - 1))
    numbers = hlo.GatherDimensionNumbers.get(window, [0], [], [], [0], len(indices.shape))
    return Array(hlo.gather(x.value, indices.value, numbers, [1, *x.shape[1:]]))


def put(x: Array, indices: Array, rows: Array, *, add: bool = False) -> Array:
    """Return x `[N, …]` with `rows` `[n, …]` at (or added at) `indices` `[n]`.

    Rows whose index is negative or beyond the end are dropped.
    """
    window = list(range(1, len(rows.shape)))
    numbers = hlo.ScatterDimensionNumbers.get(window, [0], [], [], [0], 1)
    made = hlo.ScatterOp([x.value.type], [x.value], indices.value, [rows.value], numbers)
    scalar = type_of((), x.dtype)
    block = made.update_computation.blocks.append(scalar, scalar)
    with ir.InsertionPoint(block):
        old, new = block.arguments
        hlo.return_([hlo.add(old, new) if add else new])
    return Array(made.result)


def order_of(keys: Array) -> Array:
    """Return where elements of a vector of int32 are in ascending order, equals as they came."""
    types = [keys.value.type] * 2
    made = hlo.SortOp(types, [keys.value, arange(keys.shape[0]).value], dimension=0, is_stable=True)
    scalar = type_of((), "i32")
    block = made.comparator.blocks.append(*[scalar] * 4)
    with ir.InsertionPoint(block):
        less = hlo.ComparisonDirectionAttr.get("LT")
        hlo.return_([hlo.compare(block.arguments[0], block.arguments[1], less)])
    return Array(made.results[1])


def window(x: Array, starts: Sequence[Array | int], sizes: Sequence[int]) -> Array:
    """Return a part of x that begins where int32 scalars say, moved so that it lies in x."""
    return Array(hlo.dynamic_slice(x.value, _scalars(starts), list(sizes)))


def put_window(x: Array, part: Array, starts: Sequence[Array | int]) -> Array:
    """Return x with `part` in it, which begins where int32 scalars say."""
    return Array(hlo.dynamic_update_slice(x.value, part.value, _scalars(starts)))


def _scalars(starts: Sequence[Array | int]) -> list[Any]:
    return [array_of(one, "i32").reshape().value for one in starts]
