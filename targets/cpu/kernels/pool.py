"""One row for each sequence of the step.

Rows are added in their order, feature by feature: the same bits for a sequence wherever it stands.
"""

from collections.abc import Callable, Mapping
from functools import partial

from ingot.targets.cpu.build import F32, I32, I64, Value, loop, maximum, splat
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level

from .elementwise_groups import GROUP, Group, Rows, each_group, rows_of
from .rounding import strided_slots, symbol

_COMBINE: Mapping[str, Callable[[Value, Value], Value]] = {
    "mean": lambda total, row: total + row,
    "max": maximum,
}


def pool_kernel(kind: str, features: int) -> Kernel:
    """`lm.pool`: row s of y from rows starts[s] … starts[s + 1] - 1 of x.  A unit is a row of y.

    Slots: x, x_stride, starts (i32), y, y_stride; strides in bytes.
    """
    slots = (*strided_slots("x"), Slot("starts"), *strided_slots("y"))
    return Kernel(symbol("pool", kind, features), slots, partial(_body, kind, features))


def _body(kind: str, features: int, level: Level, arguments: Arguments) -> None:
    with rows_of(arguments) as rows:
        starts = arguments.pointer("starts")
        first = starts.load(I32, rows.index * 4).to(I64)
        end = starts.load(I32, rows.index * 4 + 4).to(I64)
        if kind in _COMBINE:
            _reduce(kind, features, rows, first, end)
            return
        x, y = rows.row_at("x", first if kind == "cls" else end - 1), rows.row("y")
        each_group(features, lambda group: group.store(y, group.load(x)))


def _reduce(kind: str, features: int, rows: Rows, first: Value, end: Value) -> None:
    combine, y = _COMBINE[kind], rows.row("y")

    def write(group: Group) -> None:
        begin = [group.load(rows.row_at("x", first))]
        with loop(first + 1, end, carried=begin) as tokens:
            row = group.load(rows.row_at("x", tokens.index))
            tokens.carry(combine(tokens.carried[0], row))
        (total,) = tokens.results
        if kind == "mean":
            total = total / splat((end - first).to(F32), GROUP)
        group.store(y, total)

    each_group(features, write)
