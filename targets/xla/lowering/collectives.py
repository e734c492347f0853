"""What the devices of a mesh do together, in arrays of fixed sizes.

Rows that do not divide evenly are padded: each device has as many as the first one, and what is
gathered is cut to the rows that there are.
"""

from ingot.ir import (
    AllGather,
    AllReduce,
    Combine,
    Dispatch,
    LocalIds,
    ReduceScatter,
    Shard,
)
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

from .context import Context
from .matrix import ELEMENT


def lower_all_reduce(context: Context, op: AllReduce) -> None:
    x = context.values[op.x]
    total = hlo.all_reduce(x.astype(ELEMENT[op.dtype]), context.groups(op.axis))
    context.values[op.out] = total.astype(x.dtype)


def lower_all_gather(context: Context, op: AllGather) -> None:
    x = context.values[op.x]
    sent = x if op.dtype == "float32" else x.astype(ELEMENT[op.dtype])
    whole = hlo.all_gather(sent, op.dim, context.groups(op.axis)).astype(x.dtype)
    context.values[op.out] = whole if op.dim else whole[: context.rows_of(op.out)]


def lower_reduce_scatter(context: Context, op: ReduceScatter) -> None:
    x = _padded(context.values[op.x], op.dim, op.size)
    part = hlo.reduce_scatter(x.astype(ELEMENT[op.dtype]), op.dim, context.groups(op.axis))
    context.values[op.out] = part.astype(x.dtype)


def lower_shard(context: Context, op: Shard) -> None:
    """Lower `lm.shard` of a value per token; parts of weights are parameters of their own."""
    x = context.values[op.x]
    part = context.place(op.axis) // op.devices_per_part
    shape = list(x.shape)
    if op.dim == 0:
        x = _padded(x, 0, op.parts)
        shape[0] = x.shape[0] // op.parts
        starts: list[Array | int] = [part * shape[0], *[0] * (len(shape) - 1)]
        context.values[op.out] = hlo.window(x, starts, shape)
        return
    size = shape[1] // (op.blocks * op.parts)
    apart = x.reshape(shape[0], op.blocks, op.parts, size)
    taken = hlo.window(apart, [0, 0, part, 0], [shape[0], op.blocks, 1, size])
    context.values[op.out] = taken.reshape(shape[0], op.blocks * size)


def lower_local_ids(context: Context, op: LocalIds) -> None:
    local = context.values[op.ids] - context.place(op.axis) * op.rows
    context.values[op.out] = hlo.where((local >= 0) & (local < op.rows), local, -1)


def lower_dispatch(context: Context, op: Dispatch) -> None:
    """Lower `lm.dispatch`: every device sends all others a block of as many rows as it has tokens.

    A block holds the tokens that have an expert there; others are zeros of weight 0.
    """
    x, indices = context.values[op.x], context.values[op.indices]
    weights, count = context.values[op.weights], op.experts // op.size
    rows, choices = indices.shape
    devices = hlo.arange(op.size, (op.size, 1, 1))
    here = (indices[None] // count).equals(devices)
    local = hlo.where(here, indices[None] - devices * count, 0)
    shares = hlo.where(here, weights[None], 0.0)
    any_here = here.astype("i32").max(2).astype("f32")
    sent = any_here * x[None]
    for value, array in (
        (op.out, sent.reshape(op.size * rows, x.shape[1])),
        (op.local_indices, local.reshape(op.size * rows, choices)),
        (op.local_weights, shares.reshape(op.size * rows, choices)),
    ):
        context.values[value] = hlo.all_to_all(array, context.groups(op.axis))


def lower_combine(context: Context, op: Combine) -> None:
    """Lower `lm.combine`: blocks travel back; where a token had no expert nothing is added."""
    indices, y = context.values[op.indices], context.values[op.y]
    rows = indices.shape[0]
    back = hlo.all_to_all(y, context.groups(op.axis)).reshape(op.size, rows, y.shape[1])
    devices = hlo.arange(op.size, (op.size, 1, 1))
    here = (indices[None] // (op.experts // op.size)).equals(devices)
    any_here = here.astype("i32").max(2) > 0
    context.values[op.out] = hlo.where(any_here, back, 0.0).sum(0)[0]


def _padded(x: Array, dim: int, parts: int) -> Array:
    return x if dim else hlo.pad(x, 0, -x.shape[0] % parts)
