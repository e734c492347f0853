"""The rows whose logits are wanted."""

from functools import partial

from ingot.targets.cpu.build import I32, I64
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level

from .elementwise_groups import each_group, rows_of
from .rounding import SINKS, SinkKind, strided_slots, symbol


def select_rows_kernel(features: int, *, sink: SinkKind = "float") -> Kernel:
    """`lm.select_rows`: row r of y is row row_ids[r] of x.  A unit is a row of y.

    Slots: x, x_stride, row_ids (i32), y, y_stride; strides in bytes.
    """
    slots = (*strided_slots("x"), Slot("row_ids"), *strided_slots("y"))
    name = symbol("select_rows", features, sink)
    return Kernel(name, slots, partial(_body, features, sink), bf16=sink == "bf16")


def _body(features: int, sink: SinkKind, level: Level, arguments: Arguments) -> None:
    with rows_of(arguments) as rows:
        wanted = arguments.pointer("row_ids").load(I32, rows.index * 4).to(I64)
        x, y = rows.row_at("x", wanted), rows.row("y")
        each_group(features, lambda group: SINKS[sink](level, y, group, group.load(x)))
