"""A dry run plans an artifact to the byte, and reads no weight."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.compiler.cli.main import main
from ingot.compiler.driver import CompileOptions, compile_model
from ingot.compiler.dry_run import plan_model
from ingot.models import Weights
from ingot.models.sources import SourceHashes
from ingot.targets import Settings

OPTIONS = CompileOptions(settings=Settings(levels=("generic",)))


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a weight or a whole file was read")

    monkeypatch.setattr(Weights, "__getitem__", fail)
    monkeypatch.setattr(SourceHashes, "__getitem__", fail)


def test_every_file_is_predicted_to_the_byte(
    small_model: Callable[[str], Any], tmp_path: Path
) -> None:
    folder = small_model("qwen2").folder
    planned = plan_model(folder, OPTIONS)
    report = compile_model(folder, tmp_path / "m.ingot", OPTIONS)
    written = {
        str(path.relative_to(tmp_path / "m.ingot")): path.stat().st_size
        for path in (tmp_path / "m.ingot").rglob("*")
        if path.is_file()
    }
    assert planned.sizes == written
    assert planned.bytes == report.bytes and planned.kinds == report.kinds


@pytest.mark.usefixtures("unreadable")
def test_nothing_of_the_weights_is_read(
    small_model: Callable[[str], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = str(small_model("llama").folder)
    assert main(["compile", folder, "--levels", "generic", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "nothing was written" in said and "launches a step" in said
    assert "KV cache a token" in said and "decode at 0 " in said
    assert not list(tmp_path.iterdir())


def test_costs_grow_with_what_is_cached(small_model: Callable[[str], Any]) -> None:
    planned = plan_model(small_model("llama").folder, OPTIONS)
    assert list(planned.decode) == [0, planned.architecture["max_positions"] - 1]
    none, *_, most = planned.decode.values()
    assert none.flops < most.flops and none.bytes < most.bytes
    assert planned.prefill.flops > 100 * none.flops
    assert planned.decode[0] == none and none.flops > planned.parameters
