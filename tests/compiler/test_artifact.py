"""An artifact appears whole or not at all, and never replaces anything but an artifact."""

import hashlib
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from ingot.compiler.artifact import Contents, WeightEntry, write_artifact
from ingot.errors import ArtifactError, UsageError
from ingot.runtime import artifact_format
from ingot.runtime.artifact import Artifact


def weight(name: str, data: np.ndarray[Any, Any]) -> WeightEntry:
    return WeightEntry(name, data.nbytes, lambda: data)


def contents(*weights: WeightEntry, files: dict[str, bytes] | None = None) -> Contents:
    return Contents(
        files or {"config.json": b"{}", "targets/cpu/plan.json": b"{}"},
        weights or (weight("a", np.arange(10, dtype=np.uint8)),),
        {"sources": {}},
    )


def test_every_file_is_listed_with_its_hash(tmp_path: Path) -> None:
    size = write_artifact(tmp_path / "m.ingot", contents())
    manifest = json.loads((tmp_path / "m.ingot/manifest.json").read_text())
    assert manifest["format"] == "ingot" and manifest["sources"] == {}
    assert set(manifest["files"]) == {"config.json", "targets/cpu/plan.json", "weights.safetensors"}
    total = (tmp_path / "m.ingot/manifest.json").stat().st_size
    for name, record in manifest["files"].items():
        data = (tmp_path / "m.ingot" / name).read_bytes()
        assert record["bytes"] == len(data)
        (digest,) = record.get("chunks") or [record["sha256"]]
        assert digest == hashlib.sha256(data).hexdigest()
        total += len(data)
    assert size == total
    assert os.listdir(tmp_path) == ["m.ingot"]


def test_files_that_are_still_being_made_are_waited_for(tmp_path: Path) -> None:
    write_artifact(tmp_path / "whole", Contents({"a": b"1", "folder/b": b"23"}, [], {}))
    write_artifact(tmp_path / "late", Contents({"a": b"1"}, [], {}, {"folder/b": lambda: b"23"}))
    for name in ("a", "folder/b", "manifest.json"):
        assert (tmp_path / "late" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_artifact_whose_file_fails_late_is_not_there(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("the worker ended")

    with pytest.raises(RuntimeError, match="the worker ended"):
        write_artifact(tmp_path / "m", Contents({}, [], {}, {"b": fail}))
    assert os.listdir(tmp_path) == []


def test_weights_are_aligned_safetensors_with_chunk_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact_format, "CHUNK_BYTES", 100)
    first, second = np.arange(130, dtype=np.uint8), np.arange(64, dtype=np.uint8)
    write_artifact(tmp_path / "m", contents(weight("b", first), weight("a", second)))
    path = tmp_path / "m/weights.safetensors"
    loaded = load_file(path)
    assert loaded["b"].shape == (192,) and not loaded["b"][130:].any()
    np.testing.assert_array_equal(loaded["b"][:130], first)
    np.testing.assert_array_equal(loaded["a"], second)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert (8 + length) % 64 == 0 and header["__metadata__"] == {"format": "ingot"}
    assert all(
        header[name]["data_offsets"][0] % 64 == 0 for name in header if name != "__metadata__"
    )
    manifest = json.loads((tmp_path / "m/manifest.json").read_text())
    assert manifest["files"]["weights.safetensors"]["chunks"] == [
        hashlib.sha256(data[at : at + 100]).hexdigest() for at in range(0, len(data), 100)
    ]


def test_the_reader_reads_what_the_writer_writes(tmp_path: Path) -> None:
    data = np.arange(200, dtype=np.uint8)
    write_artifact(tmp_path / "m", contents(weight("a", data), weight("b", data[:5])))
    opened = Artifact.open(tmp_path / "m")
    np.testing.assert_array_equal(opened.weights["a"][:200], data)
    np.testing.assert_array_equal(opened.weights["b"][:5], data[:5])
    assert opened.read_json("targets/cpu/plan.json") == {}


def test_equal_contents_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_artifact(tmp_path / name, contents())
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            other = tmp_path / "two" / path.relative_to(tmp_path / "one")
            assert other.read_bytes() == path.read_bytes()


def test_an_artifact_is_replaced(tmp_path: Path) -> None:
    write_artifact(tmp_path / "m", contents(files={"old.json": b"1"}))
    write_artifact(tmp_path / "m", contents(files={"new.json": b"2"}))
    assert not (tmp_path / "m/old.json").exists() and (tmp_path / "m/new.json").exists()
    assert os.listdir(tmp_path) == ["m"]


def test_a_folder_that_is_no_artifact_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="is not an artifact"):
        write_artifact(tmp_path / "m", contents())
    assert (tmp_path / "m/thesis.txt").read_text() == "precious"
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UsageError, match="is not an artifact"):
        write_artifact(tmp_path / "file", contents())


def test_a_missing_parent_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        write_artifact(tmp_path / "no/m", contents())


def fail(error: BaseException) -> Callable[[], Any]:
    def make() -> Any:
        raise error

    return make


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("bug")])
def test_an_interruption_leaves_the_old_artifact_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    write_artifact(tmp_path / "m", contents())
    before = (tmp_path / "m/manifest.json").read_bytes()
    with pytest.raises(type(error)):
        write_artifact(tmp_path / "m", contents(WeightEntry("a", 10, fail(error))))
    assert os.listdir(tmp_path) == ["m"]
    assert (tmp_path / "m/manifest.json").read_bytes() == before


def test_a_full_disk_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = weight("a", np.zeros(1 << 20, np.uint8))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(ArtifactError, match="the disk is full"):
            write_artifact(tmp_path / "m", contents(big))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".m.partial/targets").mkdir(parents=True)
    (tmp_path / ".m.partial/weights.safetensors").write_bytes(b"half")
    write_artifact(tmp_path / "m", contents())
    assert os.listdir(tmp_path) == ["m"]


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    def compile_again() -> Any:
        with pytest.raises(UsageError, match="another process"):
            write_artifact(tmp_path / "m", contents())
        return np.zeros(10, np.uint8)

    write_artifact(tmp_path / "m", contents(WeightEntry("a", 10, compile_again)))
    assert os.listdir(tmp_path) == ["m"]
