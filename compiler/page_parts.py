"""The parts that sections of the report's page are made of."""

from collections.abc import Iterable, Sequence
from html import escape


def section(title: str, content: str) -> str:
    """Return a section of HTML under its title."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table of cells that are HTML already; columns from `left` on are numbers."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=number' if column >= left else ''}>{cell}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def bar(share: float) -> str:
    """Return a share as a number before a bar."""
    return (
        f'{share:.1%} <svg class="bar" width="100" height="10" aria-hidden="true">'
        f'<rect width="{100 * share:.1f}" height="10"/></svg>'
    )
