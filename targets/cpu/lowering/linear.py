"""Linear layers and tables."""

from ingot.ir import Embedding, Linear, Shift, TokenTypes, Value, is_rounded, shape_of
from ingot.targets.cpu.kernels.elementwise import scale_kernel
from ingot.targets.cpu.kernels.embedding import embedding_kernel
from ingot.targets.cpu.kernels.linear import UNIT_OUTPUTS, linear_kernels
from ingot.targets.cpu.kernels.rounding import float_row_bytes
from ingot.targets.cpu.plan import StepInput, Units

from .arguments import View, number_of, read, step_input, stride, write
from .context import Context
from .rowwise import launch_rows, name_of, new_result, result, sink_of, source
from .weights import add_matrix, add_vector, packing_of


def lower_linear(context: Context, op: Linear) -> None:
    """Lower `lm.linear`: a unit is a panel of 16 outputs, the variants are for numbers of rows."""
    outputs, columns = shape_of(op.w)
    x = _dense(context, op)
    y = new_result(context, op.out, x.rows)
    pairs = sink_of(op.x) == "bf16"
    packing, biased = packing_of(op.w).name, op.bias is not None
    variants = linear_kernels(packing, columns, bias=biased, pairs=pairs)
    arguments = {
        "x": read(x),
        "weights": add_matrix(context, op.w),
        "y": write(y),
        "y_stride": stride(y),
        "rows": number_of(x.rows),
    }
    if op.bias is not None:
        arguments["bias"] = add_vector(context, op.bias)
    context.launch(
        name_of(context, op),
        [(variant.max_rows, variant.candidates) for variant in variants],
        arguments,
        rows=x.rows,
        units=Units("count", -(-outputs // UNIT_OUTPUTS)),
    )


def lower_embedding(context: Context, op: Embedding) -> None:
    """Lower `lm.embedding`: of tokens, their types, or positions where the model learnt those."""
    indices, offset = _indices(context, op.tokens)
    y = new_result(context, op.out, "tokens")
    kernel = embedding_kernel(packing_of(op.table).name, y.columns, offset)
    arguments = {
        "tokens": step_input(indices),
        "table": add_matrix(context, op.table, gathered=True),
        **result("y", y),
    }
    launch_rows(context, op, kernel, arguments, "tokens")


def _indices(context: Context, value: Value) -> tuple[StepInput, int]:
    """Return which input of the step the indices of rows are, and what is added to them."""
    tokens, positions, _ = context.module.step.entry_block.arguments
    if isinstance(value.owner, Shift):
        name, offset = _indices(context, value.owner.indices)
        return name, offset + value.owner.offset
    if isinstance(value.owner, TokenTypes):
        return "token_types", 0
    assert value in (tokens, positions), "a lookup of something else than tokens or positions"
    return ("token_ids" if value == tokens else "positions"), 0


def _dense(context: Context, op: Linear) -> View:
    """Return x with rows as far apart as the kernels expect: a slice of wider rows is copied."""
    x = context.views[op.x]
    if is_rounded(op.x) or x.stride_bytes == float_row_bytes(x.columns):
        return x
    copy = context.new_view(f"{name_of(context, op)}.dense", x.rows, x.columns)
    kernel = scale_kernel(x.columns, 1.0)
    launch_rows(context, op, kernel, {**source("x", x), **result("y", copy)}, x.rows)
    return copy
