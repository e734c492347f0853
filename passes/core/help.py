"""What a user is shown of passes and pipelines; everything is taken from the code itself."""

from collections.abc import Iterable, Sequence
from inspect import getdoc
from textwrap import indent

from .base import Pass
from .named import NamedPipeline
from .options import format_option, options_of


def pass_help(kind: type[Pass]) -> str:
    """Return what a pass does, what it promises and what each of its options means."""
    lines = [f"{kind.name()}", "", indent(getdoc(kind) or "", "  "), ""]
    lines.append(f"  contract: {kind().promise()}")
    options = options_of(kind)
    if options:
        rows = [(format_option(one), one.help, one.values) for one in options]
        lines += ["", "  options:", indent(_table(rows), "    ")]
    return "\n".join(lines)


def list_passes(kinds: Iterable[type[Pass]]) -> str:
    """Return a line for each pass: its name and its purpose."""
    return _table([(kind.name(), kind.description()) for kind in kinds])


def list_pipelines(pipelines: Iterable[NamedPipeline]) -> str:
    """Return a line for each named pipeline: its name, its purpose, and its passes below."""
    return "\n".join(f"{one.name}  {one.description}\n    {one.text}" for one in pipelines)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
