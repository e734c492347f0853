"""The scan of Mamba-2: every head has a matrix that decays as a whole."""

from dataclasses import dataclass
from functools import partial

from ingot.targets.cpu.build import F32, Pointer, Value, constant, loop, splat
from ingot.targets.cpu.kernel import Arguments, Kernel
from ingot.targets.cpu.levels import Level

from .activation_functions import exp
from .rounding import symbol
from .states import FLOAT, Columns, Span, spans_of, state_slots


@dataclass(frozen=True)
class SsmShape:
    """Heads of `head_dim` features, `groups` of them with common b and c; N is `state_size`."""

    heads: int
    head_dim: int
    groups: int
    state_size: int
    skip: bool

    @property
    def columns(self) -> Columns:
        """The features of a head, which are the lanes."""
        return Columns(self.head_dim)

    @property
    def parts(self) -> int:
        """Units of work a sequence: the blocks of all heads."""
        return self.heads * self.columns.blocks

    @property
    def part_bytes(self) -> int:
        """Bytes of the state of one unit: a block of features for each of N."""
        return self.state_size * self.columns.block_bytes


def ssm_scan_kernel(shape: SsmShape) -> Kernel:
    """`lm.ssm_scan`.  Units: `shape.parts` a sequence; state of `part_bytes` for each.

    Slots: x, x_stride, dt, dt_stride, b, b_stride, c, c_stride, y, y_stride, a, (d,) state,
    sequences.
    """
    skip = "skip" if shape.skip else ""
    name = symbol("ssm_scan", shape.heads, shape.head_dim, shape.groups, shape.state_size, skip)
    slots = state_slots("x", "dt", "b", "c", "y", weights=("a", "d") if shape.skip else ("a",))
    return Kernel(name, slots, partial(_body, shape))


def _body(shape: SsmShape, level: Level, arguments: Arguments) -> None:
    columns = shape.columns
    with spans_of(arguments, shape.parts) as span:
        state = span.state(shape.parts * shape.part_bytes, shape.part_bytes)
        head, block = span.part // columns.blocks, span.part % columns.blocks
        rate = arguments.pointer("a").load(F32, head * FLOAT)
        skip = arguments.pointer("d").load(F32, head * FLOAT) if shape.skip else None
        group = head // (shape.heads // shape.groups) * (FLOAT * shape.state_size)
        with loop(0, span.count) as tokens:
            x_row, y_row = (_head(span, name, tokens.index, head, shape) for name in "xy")
            dt = span.row("dt", tokens.index).load(F32, head * FLOAT)
            decay = splat(exp(level, dt * rate), columns.lanes)
            x = columns.load(x_row, block)
            added = x * splat(dt, columns.lanes)
            b, c = (span.row(name, tokens.index).at(group) for name in "bc")
            with loop(0, shape.state_size, carried=[constant(x.type, 0.0)]) as rows:
                place = state.at(rows.index * columns.block_bytes)
                kept = place.load(x.type) * decay
                value = level.fma(added, b.load_splat(x.type, rows.index * FLOAT), kept)
                place.store(value)
                c_n = c.load_splat(x.type, rows.index * FLOAT)
                rows.carry(level.fma(value, c_n, rows.carried[0]))
            (y,) = rows.results
            if skip is not None:
                y = level.fma(x, splat(skip, columns.lanes), y)
            columns.store(y_row, block, y)


def _head(span: Span, name: str, token: Value, head: Value, shape: SsmShape) -> Pointer:
    return span.row(name, token).at(head * (FLOAT * shape.head_dim))
