"""`--report` writes a page that stands alone, and its twin as JSON."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ingot.compiler.cli.main import main

VOID = {"meta", "wbr", "rect", "path"}


class Page(HTMLParser):
    """Collects the words of a page; fails where an element is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data + " "


@pytest.fixture(scope="module")
def reports(small_model: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    files = ["--report", str(folder / "r.html"), "--report", str(folder / "r.json")]
    options = ["--output", str(folder / "m.ingot"), "--levels", "generic", "--no-measure"]
    model = str(small_model("llama").folder)
    assert main(["compile", model, *options, *files, "--verify-passes"]) == 0
    return folder


def test_the_page_stands_alone_and_says_all(reports: Path) -> None:
    page = Page((reports / "r.html").read_text())
    assert page.links == [] and not {"script", "link", "img"} & set(page.tags)
    assert page.tags.count("figure") == 2 and page.tags.count("svg") > 20
    for word in ("quantize", "lossy(rms, 0.5)", "kept", "int4-g32", "kv cache", "add_rms_norm"):
        assert word in page.words, word
    assert "prefers-color-scheme: dark" in (reports / "r.html").read_text()


def test_the_twin_holds_what_each_pass_changed(reports: Path) -> None:
    document = json.loads((reports / "r.json").read_text())
    passes = {one["pass"].partition("{")[0]: one for one in document["passes"]}
    raised, quantised = passes["raise"], passes["quantize"]
    assert raised["before"]["ops"]["torch.aten.linear"] == raised["after"]["ops"]["lm.linear"]
    assert quantised["after"]["weight_bytes"] < 0.4 * quantised["before"]["weight_bytes"]
    assert quantised["after"]["flops"] == quantised["before"]["flops"] > 0
    assert all(check["passed"] for check in document["verification"])
    assert len(document["verification"]) == len(document["passes"])
    work = document["operations"]
    assert work["prefill"]["lm.linear"]["flops"] > 100 * work["decode"]["lm.linear"]["flops"]
    assert sum(document["files"].values()) < document["bytes"], "the manifest is not listed"


def test_one_layer_before_and_after(reports: Path) -> None:
    layer = json.loads((reports / "r.json").read_text())["layer"]
    assert layer["name"] == "model.layers.0"
    kinds = {side: [n["operation"] for n in layer[side]["nodes"]] for side in ("before", "after")}
    assert kinds["before"].count("linear") == 7 and kinds["after"].count("linear") == 4
    assert "add_rms_norm" not in kinds["before"] and "add_rms_norm" in kinds["after"]


@pytest.mark.parametrize("end", [["--dry-run"], ["--stop-after", "raise"]])
def test_a_compile_without_an_artifact_has_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], end: list[str]
) -> None:
    report = tmp_path / "report.json"
    assert main(["compile", str(tmp_path), "--report", str(report), *end]) == 2
    said = capsys.readouterr().err
    assert f"--report {report}: a report is of an artifact, and {end[0]} makes none" in said
    assert f"Leave out --report or {end[0]}." in said and not report.exists()


def test_a_name_that_says_no_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(tmp_path), "--report", "report.pdf"]) == 2
    assert "ends in .html or .json" in capsys.readouterr().err
