"""The support table of the documentation, made from the results of a run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .result import Result, Verdict

HEADER = "| model type | class | | what remains or fails |\n|---|---|---|---|"
LONGEST = 160
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
"""What the table stands between, in the document."""


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table with a row for each model, by name."""
    rows = [row(one) for one in sorted(results, key=lambda one: one.name)]
    return "\n".join([HEADER, *rows]) + "\n"


def write_table(document: Path, results: Sequence[Result]) -> None:
    """Put the table between the marks of a document, with the counts before it."""
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = f"{BEGIN}\n{summary(results)}.\n\n{table(results)}{END}"
    document.write_text(f"{before}{made}{after}", encoding="utf-8")


def row(result: Result) -> str:
    """Return the row of one model."""
    name = f"`{result.name}`"
    return f"| {name} | {result.architecture} | {result.verdict} | {_remark(result)} |"


def summary(results: Sequence[Result]) -> str:
    """Return how many models came out how, on one line."""
    counts = Counter(one.verdict for one in results)
    parts = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    right = sum(one.right for one in results)
    return f"{right} of {len(results)} right: " + ", ".join(parts)


def _remark(result: Result) -> str:
    if result.verdict is Verdict.GENERIC:
        names = (name.removeprefix("torch.aten.") for name in result.generic)
        return ", ".join(f"`{name}`" for name in names)
    text = " ".join(result.detail.split()).replace("|", "\\|")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
