"""Rows of length one."""

from collections.abc import Sequence
from functools import partial

from ingot.targets.cpu.build import Value, constant, maximum, reduce_add, splat, square_root
from ingot.targets.cpu.kernel import Arguments, Kernel
from ingot.targets.cpu.levels import Level

from .elementwise_groups import GROUP, VECTOR, Group, each_group, fold_groups, rows_of
from .rounding import strided_slots, symbol


def l2_normalize_kernel(features: int, eps: float) -> Kernel:
    """`lm.l2_normalize`: y = x / max(|x|, eps).  A unit is a row.

    Slots: x, x_stride, y, y_stride; strides in bytes.
    """
    name = symbol("l2_normalize", features, eps)
    return Kernel(name, strided_slots("x", "y"), partial(_body, features, eps))


def _body(features: int, eps: float, level: Level, arguments: Arguments) -> None:
    with rows_of(arguments) as rows:
        x, y = rows.row("x"), rows.row("y")

        def add(group: Group, carried: Sequence[Value]) -> Sequence[Value]:
            values = group.load(x)
            return [level.fma(values, values, carried[0])]

        (lanes,) = fold_groups(features, [constant(VECTOR, 0.0)], add)
        length = square_root(reduce_add(lanes))
        divisor = splat(maximum(length, constant(length.type, eps)), GROUP)
        each_group(features, lambda group: group.store(y, group.load(x) / divisor))
