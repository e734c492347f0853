"""Numbered stage files, and a pipeline that runs again on the first of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.compiler.cli.main import main
from ingot.compiler.inspection import Inspection
from ingot.compiler.stages import CompileOptions, lower_model, open_front
from ingot.ir import Module, Op, readable, source_of


@pytest.fixture
def folder(small_model: Callable[[str], Any]) -> Path:
    path: Path = small_model("qwen2").folder
    return path


def test_the_saved_pipeline_runs_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = CompileOptions(inspection=Inspection(stages=tmp_path, stop_after="lower"))
    build = lower_model(open_front(folder, options), options).build
    names = sorted(path.name for path in tmp_path.glob("*.mlir"))
    assert names[:2] == ["00-import.mlir", "01-raise.mlir"]
    assert any(tmp_path.glob("*-plan.txt"))
    pipeline = (tmp_path / "pipeline.txt").read_text().strip()
    assert pipeline == build.pipeline
    assert main(["opt", str(tmp_path / "00-import.mlir"), "--pipeline", pipeline]) == 0
    assert capsys.readouterr().out.strip() == build.module.text().strip()
    last = Module.parse((tmp_path / names[-1]).read_text())
    assert last.text(locations=True) == (tmp_path / names[-1]).read_text()
    assert readable(last) == (tmp_path / names[-1].replace(".mlir", ".txt")).read_text()


def test_differences_are_of_the_readable_form(folder: Path, tmp_path: Path) -> None:
    options = CompileOptions(inspection=Inspection(stages=tmp_path, stop_after="select-rows"))
    lower_model(open_front(folder, options), options)
    (selected,) = tmp_path.glob("*-select-rows.diff")
    lines = selected.read_text().splitlines()
    assert any(line.startswith("+") and "lm.select_rows" in line for line in lines)
    assert not any("model.layers.0" in line for line in lines if line[0] in "+-")
    before = (tmp_path / "01-raise.txt").read_text(), (tmp_path / "02-canonicalize.txt").read_text()
    assert (before[0] == before[1]) == (not (tmp_path / "02-canonicalize.diff").read_text())


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_every_operation_leads_back_to_the_model(
    small_model: Callable[[str], Any], name: str
) -> None:
    """To a module of the model and a Python line, from the import to the end of the passes."""
    options = CompileOptions(inspection=Inspection(stop_after="passes"))
    front = open_front(small_model(name).folder, options)
    module = lower_model(front, options).build.module
    found = [
        source_of(op.location)
        for function in module.functions
        for op in function.entry_block.operations
        if isinstance(op, Op)
    ]
    assert len(found) > 40
    assert not [source for source in found if not source.module or not source.line]
    layers = {source.module for source in found}
    attention = "attn.c_proj" if name == "gpt2" else "self_attn.o_proj"
    assert any(place.endswith(f"1.{attention}") for place in layers)
