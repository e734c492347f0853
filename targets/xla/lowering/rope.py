"""Rotations of queries and keys by their positions."""

from ingot.ir import Rope
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

from .context import Context


def lower_rope(context: Context, op: Rope) -> None:
    x = context.values[op.x]
    angles = context.values[op.positions].astype("f32")[:, None] * context.vector(op.inv_freq)
    cos = (hlo.cos(angles) * op.scale)[:, None]
    sin = (hlo.sin(angles) * op.scale)[:, None]
    heads = x.reshape(x.shape[0], op.heads, op.head_dim)
    end = op.offset + op.rotary_dim
    first, second = _pairs(heads[:, :, op.offset : end], op.interleaved)
    turned = [first * cos - second * sin, second * cos + first * sin]
    if op.interleaved:
        joined = hlo.concatenate([half[:, :, :, None] for half in turned], 3)
        turned = [joined.reshape(x.shape[0], op.heads, op.rotary_dim)]
    outer = [heads[:, :, : op.offset], *turned, heads[:, :, end:]]
    parts = [part for part in outer if part.shape[2]]
    context.values[op.out] = hlo.concatenate(parts, 2).reshape(*x.shape)


def _pairs(x: Array, interleaved: bool) -> tuple[Array, Array]:
    """Return the first and the second element of each pair of rotated features."""
    if interleaved:
        return x[:, :, 0::2], x[:, :, 1::2]
    half = x.shape[2] // 2
    return x[:, :, :half], x[:, :, half:]
