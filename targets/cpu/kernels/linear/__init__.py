"""Linear layers: kernels for every packing, for 1, 2, 4, 8, 16 and any number of rows.

All kernels of one shape, of every schedule, on `avx2` and on `avx512`, compute the same bits for
the same row.  A unit of work is a panel: 16 outputs.  A kernel may compute more rows than there
are, up to the next multiple of 16, so `x` and `y` must have room for those.
"""

from dataclasses import dataclass
from functools import partial

from ingot.targets.cpu.kernel import Arguments, Kernel, call_kernel
from ingot.targets.cpu.levels import LEVELS, Level

from .float_rows import float_rows
from .float_tiles import float_tiles
from .integer_rows import integer_rows
from .integer_tiles import integer_tiles
from .schedule import FloatRows, FloatTiles, IntegerRows, IntegerTiles, schedules
from .shape import LinearShape

__all__ = ["UNIT_OUTPUTS", "KernelVariant", "LinearShape", "linear_kernels"]

UNIT_OUTPUTS = 16
"""Outputs of one unit of work."""

_ROW_COUNTS = (1, 2, 4, 8, 16)
_ROW_COUNTS_UNPACKED = (1, 4)


@dataclass(frozen=True)
class KernelVariant:
    """Kernels for up to `max_rows` rows (None: any number), which compute the same bits.

    The first is the default, and on every level; another is on those that have such a schedule.
    """

    max_rows: int | None
    candidates: tuple[Kernel, ...]

    @property
    def kernel(self) -> Kernel:
        """The default."""
        return self.candidates[0]


def linear_kernels(
    packing: str, k: int, *, bias: bool, pairs: bool = False
) -> tuple[KernelVariant, ...]:
    """Return the kernels of a linear layer, those for few rows first.

    Slots: `x`, `weights`, `bias` (if there is one), `y`, `y_stride` (bytes), `rows`.  `x` has the
    row stride of its width: rounded rows for integer packings, with `pairs` those of `bf16-act`,
    else float32.
    """
    shape = LinearShape(packing, k, bias, pairs)
    counts = _ROW_COUNTS if shape.packing.unpack is None else _ROW_COUNTS_UNPACKED
    for_any = _candidates(shape, None)
    few = (KernelVariant(rows, _candidates(shape, rows, for_any[0])) for rows in counts)
    return (*few, KernelVariant(None, for_any))


def _candidates(
    shape: LinearShape, rows: int | None, for_any: Kernel | None = None
) -> tuple[Kernel, ...]:
    """Return a kernel for each schedule; those after the first have a letter in their name.

    `for_any`, the kernel for any number of rows, is called where one for few has its schedule.
    """
    packing = shape.packing_name.replace("-", "_") + ("_pairs" if shape.pairs else "")
    kind = "tiles" if rows is None else f"m{rows}"
    suffix = "_bias" if shape.bias else ""
    counts = {level: len(schedules(level, shape, rows)) for level in LEVELS}
    kernels = []
    for place in range(max(counts.values())):
        levels = [level for level, count in counts.items() if place < count]
        called = for_any if any(_is_for_any(one, shape, rows, place) for one in levels) else None
        letter = chr(ord("a") + place) if place else ""
        kernels.append(
            Kernel(
                f"linear_{packing}_k{shape.k}_{kind}{letter}{suffix}",
                shape.slots,
                partial(_body, shape=shape, rows=rows, place=place, for_any=called),
                needs=(called,) if called else (),
                levels=frozenset(level.name for level in levels),
                bf16=shape.pairs,
            )
        )
    return tuple(kernels)


def _is_for_any(level: Level, shape: LinearShape, rows: int | None, place: int) -> bool:
    """Whether a kernel for so many rows would be that for any number."""
    return schedules(level, shape, rows)[place] == schedules(level, shape, None)[0]


def _body(
    level: Level,
    arguments: Arguments,
    *,
    shape: LinearShape,
    rows: int | None,
    place: int,
    for_any: Kernel | None,
) -> None:
    if for_any is not None and _is_for_any(level, shape, rows, place):
        share = (arguments.begin, arguments.end, arguments.scratch)
        call_kernel(for_any, arguments.array, *share)
        return
    schedule = schedules(level, shape, rows)[place]
    match schedule:
        case IntegerTiles():
            integer_tiles(level, arguments, shape=shape, schedule=schedule)
        case FloatTiles():
            float_tiles(level, arguments, shape=shape, schedule=schedule)
        case IntegerRows():
            assert rows is not None
            integer_rows(level, arguments, shape=shape, rows=rows, schedule=schedule)
        case FloatRows():
            assert rows is not None
            float_rows(level, arguments, shape=shape, rows=rows, schedule=schedule)
