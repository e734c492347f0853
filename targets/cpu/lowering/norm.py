"""Normalisations, alone and with the residual addition before them."""

from ingot.ir import (
    AddLayerNorm,
    AddRmsNorm,
    LayerNorm,
    RmsNorm,
    columns_of,
    is_rounded,
)
from ingot.targets.cpu.kernel import Kernel
from ingot.targets.cpu.kernels.norm import layer_norm_kernel, rms_norm_kernel
from ingot.targets.cpu.kernels.rounding import SinkKind, round_kernel

from .arguments import Argument
from .context import Context
from .rowwise import launch_rows, name_of, new_result, result, sink_of, source
from .weights import add_vector

_GROUP = 32


def lower_rms_norm(context: Context, op: RmsNorm) -> None:
    """Lower `lm.rms_norm`."""
    _lower_norm(context, op)


def lower_layer_norm(context: Context, op: LayerNorm) -> None:
    """Lower `lm.layer_norm`."""
    _lower_norm(context, op)


def _lower_norm(context: Context, op: RmsNorm | LayerNorm) -> None:
    """Heads that groups of 32 do not divide are rounded in a second launch."""
    if is_rounded(op.out) and op.heads > 1 and (columns_of(op.x) // op.heads) % _GROUP:
        _lower_heads_then_round(context, op)
        return
    x = context.views[op.x]
    y = new_result(context, op.out, x.rows)
    arguments = {**source("x", x), **result("y", y), **_weights(context, op)}
    launch_rows(context, op, _norm_kernel(op, sink_of(op.out)), arguments, y.rows)


def _norm_kernel(op: RmsNorm | LayerNorm, sink: SinkKind) -> Kernel:
    features = columns_of(op.x) // op.heads
    if isinstance(op, RmsNorm):
        return rms_norm_kernel(features, op.eps, heads=op.heads, sink=sink)
    bias = op.b is not None
    return layer_norm_kernel(features, op.eps, bias=bias, heads=op.heads, sink=sink)


def lower_add_rms_norm(context: Context, op: AddRmsNorm) -> None:
    """Lower `lm.add_rms_norm`."""
    kernel = rms_norm_kernel(columns_of(op.x), op.eps, residual=True, sink=sink_of(op.out))
    arguments = {**_sum(context, op), **_weights(context, op)}
    launch_rows(context, op, kernel, arguments, context.views[op.x].rows)


def lower_add_layer_norm(context: Context, op: AddLayerNorm) -> None:
    """Lower `lm.add_layer_norm`."""
    kernel = layer_norm_kernel(
        columns_of(op.x), op.eps, bias=op.b is not None, residual=True, sink=sink_of(op.out)
    )
    arguments = {**_sum(context, op), **_weights(context, op)}
    launch_rows(context, op, kernel, arguments, context.views[op.x].rows)


def _sum(context: Context, op: AddRmsNorm | AddLayerNorm) -> dict[str, Argument]:
    x, residual = context.views[op.x], context.views[op.residual]
    total = new_result(context, op.sum, x.rows)
    y = new_result(context, op.out, x.rows)
    return {
        **source("x", x),
        **source("residual", residual),
        **result("sum", total),
        **result("y", y),
    }


def _weights(
    context: Context, op: RmsNorm | LayerNorm | AddRmsNorm | AddLayerNorm
) -> dict[str, Argument]:
    arguments = {"w": add_vector(context, op.w)}
    bias = op.b if isinstance(op, LayerNorm | AddLayerNorm) else None
    if bias is not None:
        arguments["b"] = add_vector(context, bias)
    return arguments


def _lower_heads_then_round(context: Context, op: RmsNorm | LayerNorm) -> None:
    x = context.views[op.x]
    normed = context.new_view(f"{name_of(context, op)}.float", x.rows, x.columns)
    arguments = {**source("x", x), **result("y", normed), **_weights(context, op)}
    launch_rows(context, op, _norm_kernel(op, "float"), arguments, x.rows)
    y = new_result(context, op.out, x.rows)
    arguments = {**source("x", normed), **result("y", y)}
    launch_rows(context, op, round_kernel(x.columns), arguments, x.rows)
