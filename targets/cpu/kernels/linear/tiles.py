"""Tiles of rows and panels whose sums go through the output between blocks of K."""

from collections.abc import Sequence

from ingot.targets.cpu.build import Value, choose, constant

from .shape import FLOATS, Output

ROW_BLOCK = 128
"""Rows whose activations stay in the second cache while all panels pass."""


def begin_tile(
    outputs: Sequence[Output], row: Value, rows: int, is_first: Value
) -> tuple[Value, ...]:
    """Return the sums so far of a tile, row by row, panel by panel: zero before the first block."""
    zero = constant(FLOATS, 0.0)
    count = rows * len(outputs)
    return choose(
        is_first,
        lambda: [zero] * count,
        lambda: [o.row(row + r).load(FLOATS) for r in range(rows) for o in outputs],
        [FLOATS] * count,
    )


def finish_tile(
    outputs: Sequence[Output], row: Value, rows: int, is_last: Value, sums: Sequence[Value]
) -> None:
    """Store sums to the output: as results after the last block of K, else as they are."""
    finished = choose(
        is_last,
        lambda: [outputs[i % len(outputs)].finished(total) for i, total in enumerate(sums)],
        lambda: sums,
        [FLOATS] * len(sums),
    )
    for i, total in enumerate(finished):
        outputs[i % len(outputs)].row(row + i // len(outputs)).store(total)
