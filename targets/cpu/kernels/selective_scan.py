"""The scan of Mamba: every channel has a row of states, each with a decay of its own."""

from functools import partial

from ingot.targets.cpu.build import F32, constant, loop, splat
from ingot.targets.cpu.kernel import Arguments, Kernel
from ingot.targets.cpu.levels import Level

from .activation_functions import exp
from .rounding import symbol
from .states import FLOAT, Columns, spans_of, state_slots


def selective_scan_kernel(channels: int, state_size: int, *, skip: bool) -> Kernel:
    """`lm.selective_scan`: lanes are channels.  Units: the blocks of `Columns(channels)`.

    Slots: x, x_stride, dt, dt_stride, b, b_stride, c, c_stride, y, y_stride, a (columns: a vector
    of channels for each state), (d,) state (of each block), sequences.
    """
    name = symbol("selective_scan", channels, state_size, "skip" if skip else "")
    slots = state_slots("x", "dt", "b", "c", "y", weights=("a", "d") if skip else ("a",))
    return Kernel(name, slots, partial(_body, Columns(channels), state_size, skip))


def selective_state_bytes(channels: int, state_size: int) -> int:
    """Return the bytes of one sequence's state."""
    columns = Columns(channels)
    return state_size * columns.blocks * columns.block_bytes


def _body(
    columns: Columns, state_size: int, skip: bool, level: Level, arguments: Arguments
) -> None:
    part_bytes = state_size * columns.block_bytes
    rate_stride = 4 * (-(-columns.size // 16) * 16)
    vector = F32.x(columns.lanes)
    with spans_of(arguments, columns.blocks) as span:
        state = span.state(columns.blocks * part_bytes, part_bytes)
        rates = arguments.pointer("a").at(span.part * columns.block_bytes)
        d = columns.load(arguments.pointer("d"), span.part) if skip else None
        with loop(0, span.count) as tokens:
            x = columns.load(span.row("x", tokens.index), span.part)
            dt = columns.load(span.row("dt", tokens.index), span.part)
            added = x * dt
            b, c = (span.row(name, tokens.index) for name in "bc")
            with loop(0, state_size, carried=[constant(vector, 0.0)]) as rows:
                place = state.at(rows.index * columns.block_bytes)
                decay = exp(level, dt * rates.load(vector, rows.index * rate_stride))
                b_n = splat(b.load(F32, rows.index * FLOAT), columns.lanes)
                value = level.fma(added, b_n, place.load(vector) * decay)
                place.store(value)
                c_n = splat(c.load(F32, rows.index * FLOAT), columns.lanes)
                rows.carry(level.fma(value, c_n, rows.carried[0]))
            (y,) = rows.results
            if d is not None:
                y = level.fma(x, d, y)
            columns.store(span.row("y", tokens.index), span.part, y)
