"""Reports: kinds of layer, their table, and what a manifest keeps of them."""

from pathlib import Path

from ingot.compiler.kinds import generic_name
from ingot.compiler.report import LayerKind, Report, Speed, kinds_from_json, report_json
from ingot.compiler.table import format_report, megabytes

KINDS = (
    LayerKind("model.layers.*.mlp.up_proj.weight", "int4-g32", "q4z", 2, 1000, 600),
    LayerKind("model.norm.weight", "f32", "vector", 1, 64, 256),
)
REPORT = Report(Path("m.ingot"), 2_000_000, KINDS, "raise", 500, ("avx2",), 3.25, 1 << 30)


def test_layer_numbers_are_starred_and_nothing_else() -> None:
    assert generic_name("model.layers.12.mlp.up_proj.weight") == "model.layers.*.mlp.up_proj.weight"
    assert generic_name("h.0.ln_1.weight") == "h.*.ln_1.weight"


def test_a_manifest_gives_the_kinds_back() -> None:
    assert kinds_from_json(report_json(KINDS, 500)) == KINDS
    assert report_json(KINDS, 500)["weight_bytes"] == 856


def test_the_table_shows_sizes_encodings_and_speed() -> None:
    speed = Speed(bandwidth=20e9, estimated=40.0, decode=33.0, prefill=900.0)
    text = format_report(REPORT)
    assert "4.80" in text and "int4-g32" in text and "estimated" not in text
    measured = Report(**{**vars(REPORT), "speed": speed})
    text = format_report(measured)
    assert "40.0 tokens/s (20.0 GB/s" in text and "33.0 tokens/s decode" in text
    other = Report(**{**vars(REPORT), "speed": Speed(20e9, 40.0)})
    assert "runs none of the levels" in format_report(other)


def test_bytes_for_a_reader() -> None:
    assert megabytes(1_500_000) == "1.5 MB"
    assert megabytes(2_340_000_000) == "2.34 GB"
