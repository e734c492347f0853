"""The CPU kernel of the clipped unit, composed of the parts of Ingot's own."""

from functools import partial

from ingot.targets.cpu.extension import (
    ACTIVATION_FUNCTIONS,
    SINKS,
    Arguments,
    Context,
    Group,
    Kernel,
    Level,
    SinkKind,
    each_group,
    launch_rows,
    maximum,
    minimum,
    new_result,
    result,
    rows_of,
    sink_of,
    source,
    strided_slots,
    symbol,
)

from .clipped_glu import ClippedGlu


def lower_clipped_glu(context: Context, op: ClippedGlu) -> None:
    """Add the launch: a unit of work is a row."""
    gate, up = context.views[op.gate], context.views[op.up]
    y = new_result(context, op.out, gate.rows)
    kernel = _kernel(op.kind, op.limit, gate.columns, sink_of(op.out))
    arguments = {**source("gate", gate), **source("up", up), **result("y", y)}
    launch_rows(context, op, kernel, arguments, y.rows)


def _kernel(kind: str, limit: float, features: int, sink: SinkKind) -> Kernel:
    name = symbol("example_clipped_glu", kind, limit, features, sink)
    slots, body = strided_slots("gate", "up", "y"), partial(_body, kind, limit, features, sink)
    return Kernel(name, slots, body, bf16=sink == "bf16")


def _body(
    kind: str, limit: float, features: int, sink: SinkKind, level: Level, arguments: Arguments
) -> None:
    function = ACTIVATION_FUNCTIONS[kind]
    with rows_of(arguments) as rows:
        gate, up, y = rows.row("gate"), rows.row("up"), rows.row("y")

        def write(group: Group) -> None:
            gated = function(level, minimum(group.load(gate), limit))
            values = gated * maximum(minimum(group.load(up), limit), -limit)
            SINKS[sink](level, y, group, values)

        each_group(features, write)
