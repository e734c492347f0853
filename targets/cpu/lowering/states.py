"""Convolutions and scans: what a sequence carries from token to token lies in pools of slots."""

from ingot.ir import CausalConv, DeltaRule, Op, SelectiveScan, SsmScan, columns_of
from ingot.targets.cpu.kernel import Kernel
from ingot.targets.cpu.kernels.causal_conv import causal_conv_kernel, conv_state_bytes
from ingot.targets.cpu.kernels.delta_rule import DeltaShape, delta_rule_kernel
from ingot.targets.cpu.kernels.selective_scan import (
    selective_scan_kernel,
    selective_state_bytes,
)
from ingot.targets.cpu.kernels.ssm_scan import SsmShape, ssm_scan_kernel
from ingot.targets.cpu.kernels.states import Columns
from ingot.targets.cpu.plan import State, Units

from .arguments import Argument, step_input, update_state
from .context import Context
from .rowwise import name_of, new_result, result, source
from .weights import add_columns, add_vector


def lower_causal_conv(context: Context, op: CausalConv) -> None:
    """Lower `lm.causal_conv`."""
    channels = columns_of(op.x)
    kernel = causal_conv_kernel(channels, op.width, op.kind, bias=op.bias is not None)
    arguments = {
        **source("x", context.views[op.x]),
        **result("y", new_result(context, op.out, "tokens")),
        "w": add_columns(context, op.w),
    }
    if op.bias is not None:
        arguments["b"] = add_vector(context, op.bias)
    size = conv_state_bytes(channels, op.width)
    _launch(context, op, kernel, arguments, size, Columns(channels).blocks)


def lower_ssm_scan(context: Context, op: SsmScan) -> None:
    """Lower `lm.ssm_scan`."""
    shape = SsmShape(op.heads, op.head_dim, op.groups, op.state_size, op.d is not None)
    arguments = {**_scanned(context, op), "a": add_vector(context, op.a)}
    size = shape.parts * shape.part_bytes
    _launch(context, op, ssm_scan_kernel(shape), arguments, size, shape.parts)


def lower_selective_scan(context: Context, op: SelectiveScan) -> None:
    """Lower `lm.selective_scan`."""
    channels = columns_of(op.x)
    kernel = selective_scan_kernel(channels, op.state_size, skip=op.d is not None)
    arguments = {**_scanned(context, op), "a": add_columns(context, op.a)}
    size = selective_state_bytes(channels, op.state_size)
    _launch(context, op, kernel, arguments, size, Columns(channels).blocks)


def lower_delta_rule(context: Context, op: DeltaRule) -> None:
    """Lower `lm.delta_rule`."""
    shape = DeltaShape(
        heads=op.heads,
        key_heads=op.key_heads,
        key_dim=op.key_dim,
        value_dim=op.value_dim,
        scale=op.scale,
        normalize=op.normalize,
        decays_rows=op.decays_rows,
    )
    arguments: dict[str, Argument] = {}
    for name in ("q", "k", "v", "g", "beta"):
        arguments |= source(name, context.views[getattr(op, name)])
    arguments |= result("y", new_result(context, op.out, "tokens"))
    size = shape.parts * shape.part_bytes
    _launch(context, op, delta_rule_kernel(shape), arguments, size, shape.parts)


def _scanned(context: Context, op: SsmScan | SelectiveScan) -> dict[str, Argument]:
    """Return the arguments that the scans of both kinds of Mamba have in common."""
    arguments: dict[str, Argument] = {}
    for name in ("x", "dt", "b", "c"):
        arguments |= source(name, context.views[getattr(op, name)])
    arguments |= result("y", new_result(context, op.out, "tokens"))
    if op.d is not None:
        arguments["d"] = add_vector(context, op.d)
    return arguments


def _launch(
    context: Context,
    op: Op,
    kernel: Kernel,
    arguments: dict[str, Argument],
    state_bytes: int,
    parts: int,
) -> None:
    """Add a launch of `parts` units for every sequence, whose state takes `state_bytes`."""
    (name,) = op.states()
    state = State(op.layer, name, max(state_bytes, 64))
    taken = {(one.layer, one.name) for one in context.states}
    assert (state.layer, state.name) not in taken, f"layer {state.layer} has two states {name}"
    context.states.append(state)
    arguments["state"] = update_state(len(context.states) - 1)
    arguments["sequences"] = step_input("sequences")
    context.launch(
        name_of(context, op),
        [(None, kernel)],
        arguments,
        rows="tokens",
        units=Units("sequences", parts),
        grain=max(1, parts // 64),
    )
