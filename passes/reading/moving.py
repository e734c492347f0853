"""How torch ops that only move elements move them, as functions of arrays of indices."""

from collections.abc import Callable, Mapping
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.ir import DYNAMIC, OpView, Value
from ingot.passes.bridging import integer, integers, shape

Array = NDArray[Any]
Move = Callable[[OpView, Array], Array | None]
"""Returns where the elements of an op's first operand go, None where that is not known."""


def sizes_of(value: Value) -> tuple[int, ...]:
    """Return the sizes of a torch tensor with 1 for the number of tokens."""
    return tuple(1 if size == DYNAMIC else size for size in shape(value))


def _same(op: OpView, x: Array) -> Array:
    return x


def _reshaped(op: OpView, x: Array) -> Array | None:
    sizes = sizes_of(op.operation.results[0])
    return x.reshape(sizes) if prod(sizes) == x.size else None


def _expanded(op: OpView, x: Array) -> Array:
    return np.broadcast_to(x, sizes_of(op.operation.results[0]))


def _transposed(op: OpView, x: Array) -> Array | None:
    first, second = (integer(dim) for dim in list(op.operation.operands)[1:])
    return None if first is None or second is None else x.swapaxes(first, second)


def _permuted(op: OpView, x: Array) -> Array | None:
    dims = [dim for dim in integers(op.operation.operands[1]) if dim is not None]
    return x.transpose(dims) if len(dims) == x.ndim else None


def _sliced(op: OpView, x: Array) -> Array | None:
    dim, _, _, step = (integer(one) for one in list(op.operation.operands)[1:])
    start = integer(op.operation.operands[2]) or 0
    if dim is None or step is None:
        return None
    size = sizes_of(op.operation.results[0])[dim]
    start = max(start + x.shape[dim], 0) if start < 0 else start
    return np.take(x, range(start, start + size * step, step), axis=dim)


def _selected(op: OpView, x: Array) -> Array | None:
    dim, index = (integer(one) for one in list(op.operation.operands)[1:])
    return None if dim is None or index is None else np.take(x, index, axis=dim)


def _repeated(op: OpView, x: Array) -> Array | None:
    count, dim = (integer(one) for one in list(op.operation.operands)[1:3])
    return None if count is None or dim is None else np.repeat(x, count, axis=dim)


def _tiled(op: OpView, x: Array) -> Array | None:
    counts = [count for count in integers(op.operation.operands[1]) if count is not None]
    return np.tile(x, counts) if len(counts) == len(shape(op.operation.results[0])) else None


def _flipped(op: OpView, x: Array) -> Array | None:
    dims = tuple(dim for dim in integers(op.operation.operands[1]) if dim is not None)
    return np.flip(x, dims) if dims else None


def part_of(split: OpView, part: Value, x: Array) -> Array | None:
    """Return what of x is `part`, one of the results that the list of `split` is unpacked to."""
    unpacked = list(part.owner.operation.results)
    index = unpacked.index(part)
    if split.operation.name == "torch.aten.unbind.int":
        dim = integer(split.operation.operands[1])
        return None if dim is None else np.take(x, index, axis=dim)
    dim = integer(split.operation.operands[2])
    if dim is None:
        return None
    sizes = [sizes_of(one)[dim] for one in unpacked]
    start = list(accumulate(sizes, initial=0))[index]
    return np.take(x, range(start, start + sizes[index]), axis=dim)


def _rules() -> Mapping[str, Move]:
    groups: dict[Move, str] = {
        _same: "alias clone contiguous detach _to_copy to.dtype type_as lift_fresh_copy",
        _reshaped: """view reshape _unsafe_view flatten.using_ints unflatten.int unsqueeze squeeze
            squeeze.dim""",
        _expanded: "expand expand_as broadcast_to",
        _transposed: "transpose.int",
        _permuted: "permute",
        _sliced: "slice.Tensor",
        _selected: "select.int",
        _repeated: "repeat_interleave.self_int",
        _tiled: "repeat",
        _flipped: "flip",
    }
    return {f"torch.aten.{n}": rule for rule, names in groups.items() for n in names.split()}


MOVES = _rules()
SPLITS = ("torch.aten.split.Tensor", "torch.aten.split_with_sizes", "torch.aten.unbind.int")
