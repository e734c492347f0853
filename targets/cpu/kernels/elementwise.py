"""Element-wise kernels on float32 rows: sums, products, scaling and soft capping.

In all of them a unit of work is a row, strides are in bytes, and the result may overwrite an
operand.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from ingot.targets.cpu.build import Value
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level

from .activation_functions import tanh
from .elementwise_groups import Group, each_group, rows_of
from .rounding import SINKS, SinkKind, strided_slots, symbol

Operator = Literal["add", "mul"]


def binary_kernel(
    operator: Operator, features: int, *, broadcast: bool = False, sink: SinkKind = "float"
) -> Kernel:
    """`lm.add` and `lm.mul`.

    Slots: x, x_stride, y, y_stride, z, z_stride; with `broadcast` y is one float32 row
    `[features]` that serves all rows, without a stride: x, x_stride, y, z, z_stride.
    """
    name = symbol(operator, features, "broadcast" if broadcast else "", sink)
    second = (Slot("y"),) if broadcast else strided_slots("y")
    slots = (*strided_slots("x"), *second, *strided_slots("z"))
    body = partial(_binary, operator, features, broadcast, sink)
    return Kernel(name, slots, body, bf16=sink == "bf16")


def scale_kernel(features: int, factor: float) -> Kernel:
    """`lm.scale`: y = x · factor.  Slots: x, x_stride, y, y_stride."""
    slots = strided_slots("x", "y")
    return Kernel(symbol("scale", features, factor), slots, partial(_scale, features, factor))


def add_constant_kernel(features: int, constant: float) -> Kernel:
    """`lm.add_constant`: y = x + constant.  Slots: x, x_stride, y, y_stride."""
    slots = strided_slots("x", "y")
    name = symbol("add_constant", features, constant)
    return Kernel(name, slots, partial(_add_constant, features, constant))


def softcap_kernel(features: int, cap: float) -> Kernel:
    """`lm.softcap`: y = cap · tanh(x / cap).  Slots: x, x_stride, y, y_stride."""
    slots = strided_slots("x", "y")
    return Kernel(symbol("softcap", features, cap), slots, partial(_softcap, features, cap))


def _binary(
    operator: Operator,
    features: int,
    broadcast: bool,
    sink: SinkKind,
    level: Level,
    arguments: Arguments,
) -> None:
    with rows_of(arguments) as rows:
        x, z = rows.row("x"), rows.row("z")
        y = arguments.pointer("y") if broadcast else rows.row("y")

        def write(group: Group) -> None:
            left, right = group.load(x), group.load(y)
            values = left + right if operator == "add" else left * right
            SINKS[sink](level, z, group, values)

        each_group(features, write)


def _scale(features: int, factor: float, level: Level, arguments: Arguments) -> None:
    _unary(features, arguments, lambda x: x * factor)


def _add_constant(features: int, constant: float, level: Level, arguments: Arguments) -> None:
    _unary(features, arguments, lambda x: x + constant)


def _softcap(features: int, cap: float, level: Level, arguments: Arguments) -> None:
    _unary(features, arguments, lambda x: tanh(level, x / cap) * cap)


def _unary(features: int, arguments: Arguments, function: Callable[[Value], Value]) -> None:
    with rows_of(arguments) as rows:
        x, y = rows.row("x"), rows.row("y")
        each_group(features, lambda group: group.store(y, function(group.load(x))))
