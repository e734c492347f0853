"""What devices do together; devices are replicas, and groups of them are written out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo as hlo

from .array import Array, fold_into, type_of

Groups = Sequence[Sequence[int]]
"""Devices that take part in a collective together, in order; all devices are in some group."""


def device_number() -> Array:
    """Return the number of the device that runs the program, an int32 scalar."""
    return Array(hlo.replica_id()).astype("i32")


def all_reduce(x: Array, groups: Groups, *, largest: bool = False) -> Array:
    """Return the sum over each group of devices, or what is largest, on all of them."""
    made = hlo.AllReduceOp([x.value.type], [x.value], _groups(groups))
    fold_into(made.regions[0], x.dtype, hlo.maximum if largest else hlo.add)
    return Array(made.results[0])


def reduce_scatter(x: Array, axis: int, groups: Groups) -> Array:
    """Return, of the sum over each group, each device's own part along a dimension."""
    shape = list(x.shape)
    shape[axis] //= len(groups[0])
    made = hlo.ReduceScatterOp(type_of(shape, x.dtype), x.value, axis, _groups(groups))
    fold_into(made.regions[0], x.dtype)
    return Array(made.result)


def all_gather(x: Array, axis: int, groups: Groups) -> Array:
    """Return the parts of a group's devices, in order, along a dimension."""
    shape = list(x.shape)
    shape[axis] *= len(groups[0])
    return Array(hlo.all_gather([type_of(shape, x.dtype)], [x.value], axis, _groups(groups)))


def all_to_all(x: Array, groups: Groups) -> Array:
    """Return x whose rows are in as many blocks as a group has devices: block j comes from j."""
    made = hlo.AllToAllOp([x.value], 0, 0, len(groups[0]), _groups(groups))
    return Array(made.results[0])


def _groups(groups: Groups) -> Any:
    return ir.DenseElementsAttr.get(np.array(groups, np.int64))
