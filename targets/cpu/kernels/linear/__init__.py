"""Linear layers: kernels for every packing, for 1, 2, 4, 8, 16 and any number of rows.

All variants of one shape, on `avx2` and on `avx512`, compute the same bits for the same row.
A unit of work is a panel: 16 outputs.  A kernel may compute more rows than there are, up to the
next multiple of 16, so `x` and `y` must have room for those.
"""

from dataclasses import dataclass
from functools import partial

from ingot.targets.cpu.kernel import Arguments, Kernel
from ingot.targets.cpu.levels import Level

from .float_rows import float_rows
from .float_tiles import float_tiles
from .integer_rows import integer_rows
from .integer_tiles import integer_tiles
from .shape import LinearShape

__all__ = ["UNIT_OUTPUTS", "KernelVariant", "LinearShape", "linear_kernels"]

UNIT_OUTPUTS = 16
"""Outputs of one unit of work."""

_ROW_COUNTS = (1, 2, 4, 8, 16)
_ROW_COUNTS_UNPACKED = (1, 4)

# The most rows whose sums fit the registers of a level, and so need no tiles.
_ROWS_IN_REGISTERS = {512: 16, 256: 16, 128: 4}

# Rows this far apart share one set of the first cache, which holds 8 of them beside the weights.
_CACHE_SET_STRIDE, _ROWS_IN_A_SET = 4096, 8


@dataclass(frozen=True)
class KernelVariant:
    """A kernel for up to `max_rows` rows (None: any number)."""

    max_rows: int | None
    kernel: Kernel


def linear_kernels(packing: str, k: int, *, bias: bool) -> tuple[KernelVariant, ...]:
    """Return the kernels of a linear layer, those for few rows first.

    Slots: `x`, `weights`, `bias` (if there is one), `y`, `y_stride` (bytes), `rows`.  `x` has the
    row stride of its width: rounded rows for integer packings, else float32.
    """
    shape = LinearShape(packing, k, bias)
    counts = _ROW_COUNTS if shape.packing.unpack is None else _ROW_COUNTS_UNPACKED
    few = [
        KernelVariant(rows, _kernel(shape, f"m{rows}", partial(_few_rows, shape=shape, rows=rows)))
        for rows in counts
    ]
    many = _kernel(shape, "tiles", partial(_any_rows, shape=shape))
    return (*few, KernelVariant(None, many))


def _kernel(shape: LinearShape, kind: str, body: "partial[None]") -> Kernel:
    suffix = "_bias" if shape.bias else ""
    packing = shape.packing_name.replace("-", "_")
    name = f"linear_{packing}_k{shape.k}_{kind}{suffix}"
    return Kernel(name, shape.slots, body)


def _few_rows(level: Level, arguments: Arguments, *, shape: LinearShape, rows: int) -> None:
    thrashing = shape.row_bytes % _CACHE_SET_STRIDE == 0 and rows > _ROWS_IN_A_SET
    if rows > _ROWS_IN_REGISTERS[level.vector_bits] or thrashing:
        _any_rows(level, arguments, shape=shape)
    elif shape.packing.unpack is not None:
        float_tiles(level, arguments, shape=shape, most_rows=rows)
    elif shape.is_integer:
        integer_rows(level, arguments, shape=shape, rows=rows)
    else:
        float_rows(level, arguments, shape=shape, rows=rows)


def _any_rows(level: Level, arguments: Arguments, *, shape: LinearShape) -> None:
    tiles = integer_tiles if shape.is_integer else float_tiles
    tiles(level, arguments, shape=shape)
