"""Where row-wise kernels put their results: float32 rows, or rows rounded to an encoding.

One implementation of rounding serves norms, gated units, attention and the rest.  The bytes of a
row are laid out in docs/architecture.md, section 5.  `int8-act`: for each group of 32 features
32 x i8, then f32 s, f32 s·Σ, f32 Σ and i32 0x4B400000 - 128·Σ, where Σ is the sum of the group's
integers.  `bf16-act`: what the products of a level take, bfloat16 or those numbers as float32.
"""

from functools import partial
from typing import Literal, Protocol

from ingot.targets.cpu.build import (
    F32,
    I8,
    I32,
    Pointer,
    Value,
    absolute,
    constant,
    narrow_to_bf16,
    reduce_add,
    reduce_max,
    round_half_even,
    select,
    widen_bf16,
)
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level

from .elementwise_groups import GROUP, Group, each_group, rows_of

SinkKind = Literal["float", "rounded", "bf16"]

ROUNDED_GROUP_BYTES = 48
_START = 0x4B400000
_LARGEST = 127.0


def float_row_bytes(features: int) -> int:
    """Bytes from one row of float32 activations to the next: features rounded up to 16."""
    return -(-features // 16) * 64


def rounded_row_bytes(features: int) -> int:
    """Bytes from one rounded row to the next: an odd multiple of 64, so that rows do not share
    cache sets.
    """
    lines = -(-ROUNDED_GROUP_BYTES * -(-features // GROUP) // 64)
    return 64 * (lines + 1 - lines % 2)


def bf16_row_bytes(features: int) -> int:
    """Bytes from one `bf16-act` row to the next: room for float32, an odd multiple of 64."""
    lines = 2 * -(-features // GROUP)
    return 64 * (lines + 1 - lines % 2)


def row_bytes_of(sink: SinkKind, features: int) -> int:
    """Bytes from one row of a sink to the next."""
    sizes = {"float": float_row_bytes, "rounded": rounded_row_bytes, "bf16": bf16_row_bytes}
    return sizes[sink](features)


def group_bytes_of(level: Level, sink: SinkKind) -> int:
    """Bytes from one group of a row to the next."""
    narrow = sink == "bf16" and level.bf16_dot
    return ROUNDED_GROUP_BYTES if sink == "rounded" else GROUP * (2 if narrow else 4)


class Sink(Protocol):
    """Takes the groups of a row, in any order."""

    def __call__(self, level: Level, row: Pointer, group: Group, values: Value) -> None:
        """Write 32 float32 `values` as `group` of the result row at `row`."""
        ...


def write_float(level: Level, row: Pointer, group: Group, values: Value) -> None:
    """Write a group as it is; a `Sink`."""
    group.store(row, values)


def write_rounded(level: Level, row: Pointer, group: Group, values: Value) -> None:
    """Round a group and write its integers and sums; a `Sink`.

    s = max|x| / 127; q = x / s, halves to even; a group of zeros, or one so small that s is 0,
    has q = 0.
    """
    values = group.keep(values)
    scale = reduce_max(absolute(values)) / _LARGEST
    integers = round_to_scale(values, divisor_of(scale))
    total = reduce_add(integers)
    whole = total.to(F32)
    address = row.at(group.index * ROUNDED_GROUP_BYTES)
    address.store(integers.to(I8))
    address.store(scale, 32)
    address.store(scale * whole, 36)
    address.store(whole, 40)
    address.store(constant(I32, _START) - total * 128, 44)


def write_bf16(level: Level, row: Pointer, group: Group, values: Value) -> None:
    """Round a group to bfloat16, halves to even, zeros beyond the end of the row; a `Sink`."""
    bits = narrow_to_bf16(group.keep(values))
    address = row.at(group.index * group_bytes_of(level, "bf16"))
    address.store(bits if level.bf16_dot else widen_bf16(bits))


def divisor_of(scale: Value) -> Value:
    """Return what to divide by: the scale, or 1 where it is 0 and every code is."""
    return select(scale.equals(0.0), constant(F32, 1.0), scale)


def round_to_scale(values: Value, divisor: Value) -> Value:
    """Return values / divisor to the nearest integer (i32), halves to even, within ±127.

    Only a subnormal scale can be so inexact that a quotient would leave that range.
    """
    limit = int(_LARGEST)
    integers = round_half_even(values / divisor)
    low = select(integers < -limit, constant(integers.type, -limit), integers)
    return select(low > limit, constant(integers.type, limit), low)


SINKS: dict[str, Sink] = {"float": write_float, "rounded": write_rounded, "bf16": write_bf16}


def round_kernel(features: int, sink: SinkKind = "rounded") -> Kernel:
    """`lm.round`: float32 rows to rounded rows.  A unit is a row.

    Slots: x, x_stride, y, y_stride; strides in bytes, as in every row-wise kernel.
    """
    slots = strided_slots("x", "y")
    name = symbol("round", "" if sink == "rounded" else sink, features)
    return Kernel(name, slots, partial(_round, features, sink), bf16=sink == "bf16")


def strided_slots(*names: str) -> tuple[Slot, ...]:
    """Return the slots of buffers: for each its address and its row stride in bytes."""
    return tuple(s for n in names for s in (Slot(n), Slot(f"{n}_stride", "integer")))


def symbol(*parts: str | int | float) -> str:
    """Return a kernel's name made of its parameters; numbers that differ give names that differ."""
    texts = [repr(part) if isinstance(part, float) else str(part) for part in parts]
    name = "_".join(text for text in texts if text)
    return name.replace("-", "m").replace("+", "").replace(".", "p")


def _round(features: int, sink: SinkKind, level: Level, arguments: Arguments) -> None:
    with rows_of(arguments) as rows:
        x, y = rows.row("x"), rows.row("y")
        each_group(features, lambda group: SINKS[sink](level, y, group, group.load(x)))
