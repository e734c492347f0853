"""The section on devices of the report's page, and the drawing of a mesh."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from ingot.compiler.device_facts import format_devices
from ingot.compiler.device_page import device_section
from ingot.compiler.mesh_drawing import draw_mesh
from ingot.ir import Mesh

SVG = "{http://www.w3.org/2000/svg}"
PROGRAM = {
    "memory": {"arguments": 3 << 20, "temporaries": 1 << 20, "code": 0, "total": 4 << 20},
    "flops": 2e9,
    "operations": 40,
    "fused_share": 0.75,
    "collectives": [
        {"kind": "all-reduce", "axes": ["tp"], "bytes": 1 << 20, "times": 4, "step_bytes": 4 << 20},
        {"kind": "all-gather", "axes": ["tp"], "bytes": 9, "times": None, "step_bytes": None},
    ],
    "copies": [],
    "cache_copies": [],
}
FACTS: dict[str, Any] = {
    "target": "tpu:v5e-8",
    "topology": "v5e:2x4",
    "compiler": "libtpu 1",
    "mesh": "dp2xtp4",
    "count": 8,
    "context": 1024,
    "page_tokens": 16,
    "pages": 64,
    "kv_cache_dtype": "bfloat16",
    "stages": [{"weights": 2 << 20, "page": 1024, "kv_cache": 1 << 16}],
    "steps": ["decode-8"],
    "programs": {"decode-8.0": PROGRAM},
}


def rectangles(text: str, kind: str) -> list[tuple[float, float, float, float]]:
    found = ElementTree.fromstring(text).iter(f"{SVG}rect")
    sizes = ("x", "y", "width", "height")
    return [tuple(float(one.attrib[s]) for s in sizes) for one in found if one.get("class") == kind]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("mesh", "devices", "frames"),
    [("tp4", 4, 1), ("dp2xtp4", 8, 3), ("dp1xtp2", 2, 1), ("pp2xdp2xtp2xcp2", 16, 15)],
)
def test_every_device_has_a_box_and_no_two_overlap(mesh: str, devices: int, frames: int) -> None:
    drawn = draw_mesh(Mesh.parse(mesh))
    boxes = rectangles(drawn, "plain")
    assert len(boxes) == devices and len(rectangles(drawn, "outside")) == frames
    for number, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, _, _ in boxes[:number]:
            assert abs(x - other_x) >= width or abs(y - other_y) >= height
    numbers = re.findall(r'class="name"[^>]*>(\d+)<', drawn)
    assert numbers == [str(number) for number in range(devices)]


def test_frames_hold_what_they_name() -> None:
    drawn = draw_mesh(Mesh.parse("dp2xtp4"))
    _, first, second = rectangles(drawn, "outside")
    boxes = rectangles(drawn, "plain")
    for frame, inside in ((first, boxes[:4]), (second, boxes[4:])):
        for x, y, width, height in inside:
            assert frame[0] < x and x + width < frame[0] + frame[2]
            assert frame[1] < y and y + height < frame[1] + frame[3]


@pytest.mark.parametrize("mesh", ["tp1", "dp256"])
def test_one_device_and_too_many_are_not_drawn(mesh: str) -> None:
    assert draw_mesh(Mesh.parse(mesh)) == ""


def test_the_section_tells_mesh_talk_and_memory() -> None:
    html = device_section(FACTS)
    assert "tpu:v5e-8, 8 devices of v5e:2x4" in html and "nothing was run" in html
    assert "decode-8.0: 4 all-reduce, ? all-gather; ? a device" in html
    assert "heads, hidden features and vocabulary" in html
    assert "No program copies a weight or a KV cache" in html


def test_the_section_names_copied_weights() -> None:
    copy = {
        "weight": "layers.*.w",
        "dtype": "bf16",
        "shape": [64, 32],
        "bytes": 4096,
        "widened": True,
        "on_chip": False,
        "count": 2,
        "times": 2,
    }
    facts = {**FACTS, "mesh": "", "programs": {"decode-8.0": {**PROGRAM, "copies": [copy]}}}
    html = device_section(facts)
    assert (
        "<code>layers.*.w</code>" in html
        and "bf16 64x32" in html
        and '<svg class="graph' not in html
    )


def test_copies_of_the_cache_are_told_in_words_and_in_the_table() -> None:
    copy = {"dtype": "bf16", "shape": [512, 16], "bytes": 1 << 20, "count": 1, "times": 30}
    facts = {**FACTS, "programs": {"decode-8.0": {**PROGRAM, "cache_copies": [copy]}}}
    assert "KV cache</code>" in device_section(facts)
    assert any("30 copies of KV caches" in line for line in format_devices(facts, 17))


def test_a_target_without_devices_has_no_section() -> None:
    assert device_section({}) == ""
