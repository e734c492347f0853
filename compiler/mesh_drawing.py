"""A mesh of devices as SVG: a box for each device, a frame around those that share a place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from ingot.ir import Mesh

MOST_DEVICES = 128
"""More devices than this are not drawn."""

_BOX = (66.0, 44.0)
_GAP = 8.0
_TITLE = 18.0
_MARGIN = 2.0


@dataclass(frozen=True)
class _Shape:
    """A rectangle with lines of text: a device, or a frame around several."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]

    def moved(self, x: float, y: float) -> "_Shape":
        return replace(self, x=self.x + x, y=self.y + y)


def draw_mesh(mesh: Mesh) -> str:
    """Return an `svg` element: the last axis runs to the right, those before it frame by frame.

    Empty text for a mesh of one device, or of more than can be told apart.
    """
    axes = tuple((name, size) for name, size in mesh.axes if size > 1)
    if not 1 < mesh.devices <= MOST_DEVICES:
        return ""
    block = _block(axes, 0)
    width, height = block[0].width + 2 * _MARGIN, block[0].height + 2 * _MARGIN
    parts = [
        f'<svg class="graph" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(str(mesh))}: {mesh.devices} devices</title>",
        *(_rectangle(shape.moved(_MARGIN, _MARGIN)) for shape in block),
        "</svg>",
    ]
    return "\n".join(parts)


def _block(axes: Sequence[tuple[str, int]], first: int, title: str = "") -> list[_Shape]:
    """Return the frame of the devices from number `first` on that `axes` tell apart, and them.

    Axes lie to the right and below in turn, the last one to the right.
    """
    if not axes:
        return [_Shape("plain", 0, 0, *_BOX, (str(first), title))]
    (name, size), inner = axes[0], axes[1:]
    step = 1
    for _, count in inner:
        step *= count
    across = len(axes) % 2 == 1
    x, y = _GAP, _GAP + (_TITLE if title else 0.0)
    inside: list[_Shape] = []
    width = height = 0.0
    for place in range(size):
        block = _block(inner, first + place * step, f"{name} {place}")
        inside += [shape.moved(x, y) for shape in block]
        width, height = max(width, x + block[0].width), max(height, y + block[0].height)
        x, y = (x + block[0].width + _GAP, y) if across else (x, y + block[0].height + _GAP)
    return [_Shape("outside", 0, 0, width + _GAP, height + _GAP, (title,)), *inside]


def _rectangle(shape: _Shape) -> str:
    middle = shape.x + shape.width / 2
    styles = ("type",) if shape.kind == "outside" else ("name", "type")
    texts = [
        f'<text class="{style}" x="{middle:.1f}" y="{shape.y + 17 + 16 * row:.1f}">'
        f"{escape(line)}</text>"
        for row, (style, line) in enumerate(zip(styles, shape.lines, strict=True))
        if line
    ]
    return (
        f'<g><rect class="{shape.kind}" x="{shape.x:.1f}" y="{shape.y:.1f}" '
        f'width="{shape.width:.1f}" height="{shape.height:.1f}" rx="6"/>{"".join(texts)}</g>'
    )
