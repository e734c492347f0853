"""Graphs drawn in ranks: edges go down, boxes do not overlap, long edges pass beside boxes."""

from itertools import combinations
from xml.etree import ElementTree

import pytest

from ingot.compiler.drawing import BOX, GAP, draw
from ingot.compiler.layout import place
from ingot.ir import Graph, Node

CHAIN = ((0, 1), (1, 2), (2, 3))
RESIDUAL = ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (0, 5), (4, 5), (6, 5))


@pytest.mark.parametrize(("count", "edges"), [(4, CHAIN), (7, RESIDUAL), (1, ())])
def test_boxes_and_edges(count: int, edges: tuple[tuple[int, int], ...]) -> None:
    layout = place(count, edges, box=BOX, gap=GAP)
    for start, end in edges:
        heights = [y for _, y in layout.routes[start, end]]
        assert heights == sorted(heights) and layout.places[start][1] < layout.places[end][1]
        assert layout.routes[start, end][0] == layout.places[start]
    for one, other in combinations(layout.places.values(), 2):
        assert abs(one[0] - other[0]) >= BOX[0] or abs(one[1] - other[1]) >= BOX[1]
    for x, y in layout.places.values():
        assert 0 <= x - BOX[0] / 2 and x + BOX[0] / 2 <= layout.width
        assert 0 <= y - BOX[1] / 2 and y + BOX[1] / 2 <= layout.height
    for points in layout.routes.values():
        for x, y in points[1:-1]:
            boxes = [at for at in layout.places.values() if at[1] == y]
            assert all(abs(x - at[0]) >= BOX[0] / 2 for at in boxes)


def test_a_source_stands_above_its_reader() -> None:
    layout = place(7, RESIDUAL, box=BOX, gap=GAP)
    step = BOX[1] + GAP[1]
    assert layout.places[5][1] - layout.places[6][1] == step


def test_a_drawing_is_xml_with_its_texts() -> None:
    nodes = (Node("x", "", (), "[T, 4]"), Node("<y>", "linear", ("int8", "f32"), "[T, 8]"))
    root = ElementTree.fromstring(draw(Graph("layers.0", nodes, ((0, 1),))))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert texts == ["x", "from outside", "[T, 4]", "<y>", "linear · int8, f32", "[T, 8]"]
    kinds = [element.get("class") for element in root.iter() if element.tag.endswith("rect")]
    assert kinds == ["outside", "weighted"]
    assert draw(Graph("", (), ())) == "<svg></svg>"
