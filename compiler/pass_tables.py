"""Tables of what was measured of passes, for the terminal."""

from collections.abc import Sequence

from .records import CheckRecord, PassRecord


def format_times(records: Sequence[PassRecord]) -> str:
    """Return the passes with their seconds, their shares, and operations before and after."""
    total = sum(record.seconds for record in records)
    rows = [("seconds", "share", "ops before", "after", "pass")]
    rows += [
        (
            f"{record.seconds:.3f}",
            f"{record.seconds / total:.0%}" if total else "",
            str(record.before.total),
            str(record.after.total),
            record.text,
        )
        for record in records
    ]
    return _table([*rows, (f"{total:.3f}", "100%", "", "", "all passes")])


def format_checks(checks: Sequence[CheckRecord]) -> str:
    """Return the passes with the error of each and what its contract allows."""
    rows = [("error", "allowed", "pass")]
    rows += [(f"{check.error:.2e}", f"{check.allowed:g}", check.step) for check in checks]
    return _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return columns below each other, numbers to the right; the last is left as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]))
    return "\n".join(lines)
