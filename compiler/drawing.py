"""A graph as SVG, with no script and with colours taken from the page that holds it."""

from collections.abc import Sequence
from html import escape

from ingot.ir import Graph, Node

from .layout import place

BOX = (212.0, 58.0)
GAP = (18.0, 26.0)
MARGIN = 8.0
LONGEST = 30


def draw(graph: Graph) -> str:
    """Return an `svg` element; an empty graph gives an empty one."""
    if not graph.nodes:
        return "<svg></svg>"
    layout = place(len(graph.nodes), graph.edges, box=BOX, gap=GAP)
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    parts = [
        f'<svg class="graph" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(graph.layer)}</title>",
        *(_edge(points) for points in layout.routes.values()),
        *(_box(node, *layout.places[number]) for number, node in enumerate(graph.nodes)),
        "</svg>",
    ]
    return "\n".join(parts)


def _edge(points: Sequence[tuple[float, float]]) -> str:
    """Return a curve from below the first point to above the last, through those between."""
    shifted = [(x + MARGIN, y + MARGIN) for x, y in points]
    half = BOX[1] / 2
    (x, y), *rest = shifted
    y += half
    path = [f"M{x:.1f} {y:.1f}"]
    for index, (to_x, middle) in enumerate(rest):
        last = index == len(rest) - 1
        top, bottom = middle - half, middle + half
        bend = (top - y) / 2
        path.append(f"C{x:.1f} {y + bend:.1f} {to_x:.1f} {top - bend:.1f} {to_x:.1f} {top:.1f}")
        if not last:
            path.append(f"L{to_x:.1f} {bottom:.1f}")
        x, y = to_x, bottom
    return f'<path class="edge" d="{" ".join(path)}"/>'


def _box(node: Node, x: float, y: float) -> str:
    left, top = x + MARGIN - BOX[0] / 2, y + MARGIN - BOX[1] / 2
    kind = "outside" if not node.operation else "weighted" if node.weights else "plain"
    title = node.operation or "from outside"
    if node.weights:
        title += f" · {', '.join(dict.fromkeys(node.weights))}"
    lines = [("name", _short(node.name)), ("op", _short(title)), ("type", _short(node.result))]
    texts = [
        f'<text class="{style}" x="{x + MARGIN:.1f}" y="{top + 18 + 15 * row:.1f}">'
        f"{escape(text)}</text>"
        for row, (style, text) in enumerate(lines)
    ]
    rectangle = (
        f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{BOX[0]:.0f}" '
        f'height="{BOX[1]:.0f}" rx="6"/>'
    )
    return f"<g>{rectangle}{''.join(texts)}</g>"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
