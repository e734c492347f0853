"""`INGOT_DUMP`: numbered stage files, and a pipeline that runs again on the first of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.compiler.cli.main import main
from ingot.compiler.driver import CompileOptions, lower_model
from ingot.ir import Module
from ingot.models import import_model, open_checkpoint


def test_the_dumped_pipeline_runs_again(
    small_model: Callable[[str], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = open_checkpoint(small_model("qwen2").folder)
    build = lower_model(import_model(checkpoint), checkpoint, CompileOptions(dump=tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["00-import.mlir", "01-raise.mlir"]
    assert any(name.endswith("-plan.txt") for name in names)
    pipeline = (tmp_path / "pipeline.txt").read_text().strip()
    assert pipeline == build.pipeline
    assert main(["opt", str(tmp_path / "00-import.mlir"), "--pipeline", pipeline]) == 0
    assert capsys.readouterr().out.strip() == build.module.text().strip()
    Module.parse(build.module.text())
