"""What gives a row for each sequence, and what such rows are normalised by."""

from ingot.ir import L2Normalize, Pool, Shift, TokenTypes
from ingot.targets.cpu.kernels.l2_normalize import l2_normalize_kernel
from ingot.targets.cpu.kernels.pool import pool_kernel

from .arguments import step_input
from .context import Context
from .rowwise import launch_rows, new_result, result, source


def lower_pool(context: Context, op: Pool) -> None:
    """Lower `lm.pool`: the rows of a step are its sequences."""
    x, y = context.views[op.x], new_result(context, op.out, "rows")
    kernel = pool_kernel(op.kind, x.columns)
    arguments = {**source("x", x), "starts": step_input("starts"), **result("y", y)}
    launch_rows(context, op, kernel, arguments, "rows")


def lower_l2_normalize(context: Context, op: L2Normalize) -> None:
    """Lower `lm.l2_normalize`."""
    x, y = context.views[op.x], new_result(context, op.out, context.views[op.x].rows)
    kernel = l2_normalize_kernel(x.columns, op.eps)
    launch_rows(context, op, kernel, {**source("x", x), **result("y", y)}, y.rows)


def lower_indices(context: Context, op: Shift | TokenTypes) -> None:
    """Indices are no launch: the lookup that reads them finds out what they are."""
