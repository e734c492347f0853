"""Calls of unraised remainders, which torch-mlir's own conversions turn into kernels."""

from math import prod

from ingot.ir import Value, func, is_per_token, is_weight_expression, logical_type, shape_of
from ingot.targets.cpu.generic import remainder_kernel
from ingot.targets.cpu.kernel import Kernel
from ingot.targets.cpu.plan import Rows

from .arguments import Argument, integer, step_input
from .context import Context
from .rowwise import launch_rows, result, source
from .weights import add_plain

_INDEX_BYTES = 4


def lower_call(context: Context, op: func.CallOp) -> None:
    """Lower `func.call`: a launch of the callee's kernel, a row a unit."""
    kernel = _kernel(context, op.callee.value)
    rows = _rows(context, op)
    arguments: dict[str, Argument] = {}
    for index, operand in enumerate(op.operands):
        arguments |= _input(context, f"x{index}", operand)
    for index, value in enumerate(op.results):
        columns = -(-prod(shape_of(value)[1:]) * _element_bytes(value) // 4)
        view = context.new_view(f"{len(context.launches)}.{op.callee.value}", rows, columns)
        context.views[value] = view
        arguments |= result(f"y{index}", view)
    launch_rows(context, op, kernel, arguments, rows)


def _kernel(context: Context, callee: str) -> Kernel:
    """Return the kernel of a function, converted once however often it is called."""
    if callee not in context.kernels:
        (function,) = (f for f in context.module.functions if f.name.value == callee)
        return remainder_kernel(function)
    return context.kernels[callee]


def _rows(context: Context, op: func.CallOp) -> Rows:
    kinds = {context.views[value].rows for value in op.operands if value in context.views}
    assert len(kinds) <= 1, f"{op.callee.value} mixes tokens and rows"
    return kinds.pop() if kinds else "tokens"


def _input(context: Context, name: str, value: Value) -> dict[str, Argument]:
    if is_weight_expression(value):
        return {name: add_plain(context, value)}
    if value in context.views:
        return source(name, context.views[value])
    tokens, positions, _ = context.module.step.entry_block.arguments
    assert value in (tokens, positions), f"{name} is not a tensor of the step"
    array = step_input("token_ids" if value == tokens else "positions")
    return {name: array, f"{name}_stride": integer(_INDEX_BYTES)}


def _element_bytes(value: Value) -> int:
    assert is_per_token(value)
    element = logical_type(value).element_type
    return -(-int(str(element).lstrip("bfi")) // 8)
