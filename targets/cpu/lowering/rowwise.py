"""Operations on each row alone: activations, gated units, sums, products, selection, rounding."""

from collections.abc import Mapping

from ingot.ir import (
    Activation,
    Add,
    AddConstant,
    Encoding,
    Glu,
    Mul,
    OpView,
    Round,
    Scale,
    SelectRows,
    Softcap,
    Value,
    columns_of,
    encoding_of,
    is_rounded,
    is_weight_expression,
)
from ingot.targets.cpu.kernel import Kernel
from ingot.targets.cpu.kernels.activation import activation_kernel, glu_kernel
from ingot.targets.cpu.kernels.elementwise import (
    Operator,
    add_constant_kernel,
    binary_kernel,
    scale_kernel,
    softcap_kernel,
)
from ingot.targets.cpu.kernels.rounding import SinkKind, round_kernel, row_bytes_of
from ingot.targets.cpu.kernels.select import select_rows_kernel
from ingot.targets.cpu.plan import Rows, Units

from .arguments import Argument, View, read, step_input, stride, write
from .context import Context
from .weights import add_vector


def lower_activation(context: Context, op: Activation) -> None:
    """Lower `lm.activation`."""
    x, y = context.views[op.x], new_result(context, op.out, context.views[op.x].rows)
    kernel = activation_kernel(op.kind, y.columns)
    launch_rows(context, op, kernel, {**source("x", x), **result("y", y)}, y.rows)


def lower_glu(context: Context, op: Glu) -> None:
    """Lower `lm.glu`."""
    gate, up = context.views[op.gate], context.views[op.up]
    y = new_result(context, op.out, gate.rows)
    kernel = glu_kernel(op.kind, gate.columns, sink=sink_of(op.out))
    arguments = {**source("gate", gate), **source("up", up), **result("y", y)}
    launch_rows(context, op, kernel, arguments, y.rows)


def lower_add(context: Context, op: Add) -> None:
    """Lower `lm.add`."""
    _lower_binary(context, op, "add")


def lower_mul(context: Context, op: Mul) -> None:
    """Lower `lm.mul`."""
    _lower_binary(context, op, "mul")


def lower_scale(context: Context, op: Scale) -> None:
    """Lower `lm.scale` of an activation."""
    x, y = context.views[op.x], new_result(context, op.out, context.views[op.x].rows)
    kernel = scale_kernel(y.columns, op.factor)
    launch_rows(context, op, kernel, {**source("x", x), **result("y", y)}, y.rows)


def lower_add_constant(context: Context, op: AddConstant) -> None:
    """Lower `lm.add_constant` of an activation."""
    x, y = context.views[op.x], new_result(context, op.out, context.views[op.x].rows)
    kernel = add_constant_kernel(y.columns, op.constant)
    launch_rows(context, op, kernel, {**source("x", x), **result("y", y)}, y.rows)


def lower_softcap(context: Context, op: Softcap) -> None:
    """Lower `lm.softcap`."""
    x, y = context.views[op.x], new_result(context, op.out, context.views[op.x].rows)
    kernel = softcap_kernel(y.columns, op.cap)
    launch_rows(context, op, kernel, {**source("x", x), **result("y", y)}, y.rows)


def lower_round(context: Context, op: Round) -> None:
    """Lower `lm.round` that no producer has taken in."""
    x, y = context.views[op.x], new_result(context, op.out, context.views[op.x].rows)
    arguments = {**source("x", x), **result("y", y)}
    launch_rows(context, op, round_kernel(x.columns, sink_of(op.out)), arguments, y.rows)


def lower_select_rows(context: Context, op: SelectRows) -> None:
    """Lower `lm.select_rows`: the result has a row for each one wanted."""
    x, y = context.views[op.x], new_result(context, op.out, "rows")
    kernel = select_rows_kernel(x.columns)
    arguments = {**source("x", x), "row_ids": step_input("row_ids"), **result("y", y)}
    launch_rows(context, op, kernel, arguments, "rows")


def _lower_binary(context: Context, op: Add | Mul, operator: Operator) -> None:
    x, z = context.views[op.x], new_result(context, op.out, context.views[op.x].rows)
    broadcast = is_weight_expression(op.y)
    y = {"y": add_vector(context, op.y)} if broadcast else source("y", context.views[op.y])
    kernel = binary_kernel(operator, z.columns, broadcast=broadcast)
    launch_rows(context, op, kernel, {**source("x", x), **y, **result("z", z)}, z.rows)


def new_result(context: Context, value: Value, rows: Rows) -> View:
    """Make the buffer of a result and note where the value lies."""
    columns = columns_of(value)
    row_bytes = row_bytes_of(sink_of(value), columns) if is_rounded(value) else 0
    view = context.new_view(name_of(context, value.owner), rows, columns, row_bytes=row_bytes)
    context.views[value] = view
    return view


def name_of(context: Context, op: OpView) -> str:
    """Return a name for what an operation becomes: its place in the plan and its kind."""
    return f"{len(context.launches)}.{op.operation.name.removeprefix('lm.')}"


def launch_rows(
    context: Context, op: OpView, kernel: Kernel, arguments: Mapping[str, Argument], rows: Rows
) -> None:
    """Add a launch whose unit of work is a row."""
    context.launch(
        name_of(context, op), [(None, kernel)], arguments, rows=rows, units=Units("per_row", 1)
    )


def source(name: str, view: View) -> dict[str, Argument]:
    """Return the slots of a buffer that is read: its address and its stride."""
    return {name: read(view), f"{name}_stride": stride(view)}


def result(name: str, view: View) -> dict[str, Argument]:
    """Return the slots of a buffer that is written: its address and its stride."""
    return {name: write(view), f"{name}_stride": stride(view)}


def sink_of(value: Value) -> SinkKind:
    """Return where a kernel puts a result of the value's type."""
    return sink_for(encoding_of(value))


def sink_for(encoding: Encoding | None) -> SinkKind:
    """Return where a kernel puts activations of an encoding, None for float32."""
    if encoding is None:
        return "float"
    return "rounded" if encoding.is_integer else "bf16"
