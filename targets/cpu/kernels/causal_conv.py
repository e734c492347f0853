"""Convolution of every channel along its sequence, an activation behind it."""

from functools import partial

from ingot.targets.cpu.build import F32, Value, constant, loop, select, splat
from ingot.targets.cpu.kernel import Arguments, Kernel
from ingot.targets.cpu.levels import Level

from .activation_functions import ACTIVATION_FUNCTIONS
from .rounding import symbol
from .states import Columns, Span, spans_of, state_slots


def causal_conv_kernel(channels: int, width: int, kind: str, *, bias: bool) -> Kernel:
    """`lm.causal_conv`: lanes are channels.  Units: the blocks of `Columns(channels)` a sequence.

    Slots: x, x_stride, y, y_stride, w (columns: a vector of channels for each tap), (b,) state (the
    last width - 1 inputs, oldest first, of each block), sequences.
    """
    name = symbol("causal_conv", channels, width, kind, "bias" if bias else "")
    slots = state_slots("x", "y", weights=("w", "b") if bias else ("w",))
    return Kernel(name, slots, partial(_body, Columns(channels), width, kind, bias))


def conv_state_bytes(channels: int, width: int) -> int:
    """Return the bytes of one sequence's state."""
    columns = Columns(channels)
    return (width - 1) * columns.blocks * columns.block_bytes


def _body(
    columns: Columns, width: int, kind: str, bias: bool, level: Level, arguments: Arguments
) -> None:
    with spans_of(arguments, columns.blocks) as span:
        part_bytes = (width - 1) * columns.block_bytes
        stored = arguments.pointer("state").at(span.slot * (part_bytes * columns.blocks))
        stored = stored.at(span.part * part_bytes)
        fresh = splat(span.position.equals(0), columns.lanes)
        zero, vector = constant(F32.x(columns.lanes), 0.0), F32.x(columns.lanes)
        history = []
        for index in range(width - 1):
            found = stored.load(vector, index * columns.block_bytes)
            history.append(select(fresh, zero, found))
        taps = [_tap(columns, span, arguments, index) for index in range(width)]
        start = columns.load(arguments.pointer("b"), span.part) if bias else zero
        with loop(0, span.count, carried=history) as tokens:
            x = columns.load(span.row("x", tokens.index), span.part)
            window = [*tokens.carried, x]
            total = start
            for tap, value in zip(taps, window, strict=True):
                total = level.fma(tap, value, total)
            if kind != "none":
                total = ACTIVATION_FUNCTIONS[kind](level, total)
            columns.store(span.row("y", tokens.index), span.part, total)
            tokens.carry(*window[1:])
        for index, value in enumerate(tokens.results):
            stored.store(value, index * columns.block_bytes)


def _tap(columns: Columns, span: Span, arguments: Arguments, index: int) -> Value:
    """Return the weights of one tap, for which padding stands behind the last channel."""
    column = arguments.pointer("w").at(index * 4 * (-(-columns.size // 16) * 16))
    return column.at(span.part * columns.block_bytes).load(F32.x(columns.lanes))
