"""Norms, over all features or each head alone, and those that add a residual first."""

from ingot.ir import AddLayerNorm, AddRmsNorm, LayerNorm, RmsNorm, Value
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

from .context import Context


def _rms(x: Array, w: Array, eps: float) -> Array:
    return x * hlo.rsqrt((x * x).sum() / float(x.shape[-1]) + eps) * w


def _layer(x: Array, w: Array, b: Array | None, eps: float) -> Array:
    apart = x - x.sum() / float(x.shape[-1])
    y = apart * hlo.rsqrt((apart * apart).sum() / float(x.shape[-1]) + eps) * w
    return y if b is None else y + b


def _heads(x: Array, heads: int) -> Array:
    return x.reshape(x.shape[0], heads, -1)


def _bias(context: Context, value: Value | None) -> Array | None:
    return None if value is None else context.vector(value)


def lower_rms_norm(context: Context, op: RmsNorm) -> None:
    x = context.values[op.x]
    y = _rms(_heads(x, op.heads), context.vector(op.w), op.eps)
    context.set_result(op.out, y.reshape(*x.shape))


def lower_layer_norm(context: Context, op: LayerNorm) -> None:
    x = context.values[op.x]
    w, b = context.vector(op.w), _bias(context, op.b)
    context.set_result(op.out, _layer(_heads(x, op.heads), w, b, op.eps).reshape(*x.shape))


def lower_add_rms_norm(context: Context, op: AddRmsNorm) -> None:
    total = context.values[op.x] + context.values[op.residual]
    context.values[op.sum] = total
    context.set_result(op.out, _rms(total, context.vector(op.w), op.eps))


def lower_add_layer_norm(context: Context, op: AddLayerNorm) -> None:
    total = context.values[op.x] + context.values[op.residual]
    context.values[op.sum] = total
    y = _layer(total, context.vector(op.w), _bias(context, op.b), op.eps)
    context.set_result(op.out, y)
