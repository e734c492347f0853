"""Arrangements of features, which are copied into rows of their own."""

from ingot.ir import Arrange, parse_pieces
from ingot.targets.cpu.kernels.arrange import arrange_kernel

from .arguments import Argument
from .context import Context
from .rowwise import launch_rows, new_result, result, source


def lower_arrange(context: Context, op: Arrange) -> None:
    """Lower `lm.arrange`."""
    views = [context.views[part] for part in op.parts]
    y = new_result(context, op.out, views[0].rows)
    arguments: dict[str, Argument] = {}
    for index, view in enumerate(views):
        arguments |= source(f"x{index}", view)
    kernel = arrange_kernel(op.heads, parse_pieces(op.pieces))
    launch_rows(context, op, kernel, {**arguments, **result("y", y)}, y.rows)
