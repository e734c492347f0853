"""Activation functions of rows, alone or as gated linear units."""

from functools import partial

from ingot.targets.cpu.kernel import Arguments, Kernel
from ingot.targets.cpu.levels import Level

from .activation_functions import ACTIVATION_FUNCTIONS
from .elementwise_groups import Group, each_group, rows_of
from .rounding import SINKS, SinkKind, strided_slots, symbol


def activation_kernel(kind: str, features: int, *, sink: SinkKind = "float") -> Kernel:
    """`lm.activation`: y = kind(x).  A unit is a row; slots: x, x_stride, y, y_stride."""
    name = symbol("activation", kind, features, sink)
    body = partial(_body, kind, features, sink, False)
    return Kernel(name, strided_slots("x", "y"), body, bf16=sink == "bf16")


def glu_kernel(kind: str, features: int, *, sink: SinkKind = "float") -> Kernel:
    """`lm.glu`: y = kind(gate) · up.  A unit is a row.

    Slots: gate, gate_stride, up, up_stride, y, y_stride; gate and up may be columns of one buffer.
    """
    name = symbol("glu", kind, features, sink)
    slots = strided_slots("gate", "up", "y")
    body = partial(_body, kind, features, sink, True)
    return Kernel(name, slots, body, bf16=sink == "bf16")


def _body(
    kind: str, features: int, sink: SinkKind, gated: bool, level: Level, arguments: Arguments
) -> None:
    function = ACTIVATION_FUNCTIONS[kind]
    with rows_of(arguments) as rows:
        x, y = rows.row("gate" if gated else "x"), rows.row("y")

        def write(group: Group) -> None:
            values = function(level, group.load(x))
            if gated:
                values = values * group.load(rows.row("up"))
            SINKS[sink](level, y, group, values)

        each_group(features, write)
