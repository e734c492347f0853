"""Draws a result: bars of the forms of each width, prefill and decode.

python -m peers.plots RESULT.json PLOT.svg
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from .forms import WIDTHS
from .report import Report, read_report
from .result import ModelResult

KINDS = (
    ("single", "prefill", "prefill of 512"),
    ("single", "decode", "decode at 512"),
    ("batch-8", "decode", "decode of 8 sequences"),
)
OWN, OTHER = "#b5482a", "#8d99a6"


def draw(report: Report, path: Path) -> None:
    """Write one picture: a row for each model, a column for each kind of work."""
    rows = len(report.results)
    figure, axes = plt.subplots(
        rows, len(KINDS), figsize=(4 * len(KINDS), 3.4 * rows), squeeze=False
    )
    for line, result in zip(axes, report.results, strict=True):
        for place, (part, key, title) in zip(line, KINDS, strict=True):
            _bars(place, result, part, key)
            place.set_title(f"{result.model.name}: {title}", fontsize=9)
    figure.supxlabel("tokens a second", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _bars(place: Any, result: ModelResult, part: str, key: str) -> None:
    found = [
        (form, value)
        for width in WIDTHS
        for form in result.forms(width)
        if (value := result.median(form, part, key)) is not None
    ]
    names = [form for form, _ in found]
    colours = [OWN if name.startswith("ingot") else OTHER for name in names]
    place.barh(names, [value for _, value in found], color=colours)
    place.invert_yaxis()
    place.tick_params(labelsize=7)
    place.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    draw(read_report(Path(sys.argv[1])), Path(sys.argv[2]))
