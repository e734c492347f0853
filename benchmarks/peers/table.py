"""Results as aligned Markdown, which a terminal shows just as well."""

from collections.abc import Callable, Iterable, Sequence

from .bars import Row
from .forms import WIDTHS
from .result import ModelResult

PEAKS = {"int4": ("int8",), "int8": ("int8",), "bf16": ("bf16", "f32")}
"""The arithmetic that bounds a prefill at each width: the faster of the two for bf16."""
ABSENT = "-"
COLUMNS = (
    "form",
    "MB",
    "prefill 512",
    "decode at 512",
    "4 / 8 / 16 sequences",
    "prefill 4096",
    "decode at 4096",
    "start s",
    "resident MB at 512 / 4096",
    "beside a busy process",
    "conversion s",
)


def forms_table(result: ModelResult) -> str:
    """Return a row for each form that was measured: medians, tokens a second where not said."""
    rows = [_form_row(result, width, form) for width in WIDTHS for form in result.forms(width)]
    return aligned([COLUMNS, *rows])


def bars_table(rows: Iterable[Row]) -> str:
    """Return a row for each bar."""
    cells = [
        (row.model, row.what, row.figure, row.bar, "met" if row.met else "**missed**")
        for row in rows
    ]
    return aligned([("model", "what", "figure", "bar", ""), *cells])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are as wide as their widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (n + 2) for n in widths) + "|")
    return "\n".join(lines) + "\n"


def _form_row(result: ModelResult, width: str, form: str) -> tuple[str, ...]:
    def figure(part: str, key: str, show: Callable[[float], str]) -> str:
        value = result.median(form, part, key)
        return ABSENT if value is None else show(value)

    facts = result.facts.get(form)
    seconds = result.seconds(form)
    many = [figure(f"batch-{count}", "decode", _short) for count in (4, 8, 16)]
    memory = [figure(f"memory-{name}", "bytes", _megabytes) for name in ("short", "long")]
    return (
        form,
        ABSENT if facts is None else _megabytes(facts.file_bytes),
        figure("single", "prefill", _short)
        + _percent(result.peak_share(form, "single", PEAKS[width])),
        figure("single", "decode", _short) + _percent(result.read_share(form, "single")),
        " / ".join(many),
        figure("long", "prefill", _short),
        figure("long", "decode", _short),
        figure("start", "seconds", lambda value: f"{value:.2f}"),
        " / ".join(memory),
        _percent(result.kept(form)).strip(" ()") or ABSENT,
        ABSENT if seconds is None else f"{seconds:.0f}",
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.0f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f" ({share:.0%})"
