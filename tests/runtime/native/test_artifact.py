"""Opening artifacts: what is sound opens, whatever is damaged is refused with one clear message."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.errors import ArtifactError
from ingot.runtime import artifact_format as form
from ingot.runtime.artifact import Artifact


@pytest.fixture
def folder(tiny: Any, tmp_path: Path) -> Path:
    path: Path = tiny.write_artifact(tmp_path / "tiny.ingot", tiny.plan(), {"empty": b""})
    return path


def test_a_sound_artifact_opens(folder: Path, tiny: Any) -> None:
    artifact = Artifact.open(folder)
    assert artifact.read_json("config.json") == {"model_type": "tiny"}
    assert artifact.read_bytes("empty") == b""
    assert set(artifact.files) == {form.WEIGHTS, form.CPU_PLAN, "config.json", "empty"}
    assert artifact.weights.keys() == {"table", "head"}
    for name, expected in tiny.model().weights.items():
        weight = artifact.weights[name]
        assert weight.ctypes.data % form.WEIGHT_ALIGNMENT == 0
        assert not weight.flags.writeable
        np.testing.assert_array_equal(weight.view(np.float32), expected.ravel())
    with pytest.raises(ArtifactError, match=r"holds no chat_template\.jinja"):
        artifact.read_text("chat_template.jinja")


def edit_manifest(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        manifest = json.loads((folder / form.MANIFEST).read_text())
        change(manifest)
        (folder / form.MANIFEST).write_text(json.dumps(manifest))

    return damage


def flip(name: str, place: int = -1) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return damage


def overwrite(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return damage


def truncate(folder: Path) -> None:
    content = (folder / form.WEIGHTS).read_bytes()
    (folder / form.WEIGHTS).write_bytes(content[:-1])


def remove_all(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def replace_by_file(folder: Path) -> None:
    remove_all(folder)
    folder.write_text("hello")


DAMAGES = {
    "nothing there": (remove_all, "no such folder"),
    "a file": (replace_by_file, "not an artifact"),
    "no manifest": (lambda folder: (folder / form.MANIFEST).unlink(), "not an artifact"),
    "manifest no JSON": (overwrite(form.MANIFEST, b"{"), "not JSON"),
    "manifest not text": (overwrite(form.MANIFEST, b"\xff\xfe\x00"), "not JSON"),
    "manifest a list": (overwrite(form.MANIFEST, b"[]"), "not the manifest"),
    "another format": (edit_manifest(lambda m: m.update(format="other")), "not the manifest"),
    "another version": (edit_manifest(lambda m: m.update(format_version=9)), "format version 9"),
    "no files": (edit_manifest(lambda m: m.pop("files")), "does not list weights"),
    "no weights": (edit_manifest(lambda m: m["files"].pop(form.WEIGHTS)), "does not list weights"),
    "a file outside": (
        edit_manifest(lambda m: m["files"].update({"../x": {"bytes": 1, "sha256": ""}})),
        "leads outside",
    ),
    "an absolute path": (
        edit_manifest(lambda m: m["files"].update({"/etc/passwd": {"bytes": 1, "sha256": ""}})),
        "leads outside",
    ),
    "an entry of nothing": (
        edit_manifest(lambda m: m["files"].update({"config.json": 3})),
        "entry of config.json is malformed",
    ),
    "too few chunks": (
        edit_manifest(lambda m: m["files"].update({form.WEIGHTS: {"bytes": 14720, "chunks": []}})),
        "entry of weights.safetensors is malformed",
    ),
    "file missing": (lambda folder: (folder / "config.json").unlink(), "file is missing"),
    "weights missing": (lambda folder: (folder / form.WEIGHTS).unlink(), "file is missing"),
    "weights truncated": (truncate, "bytes instead of"),
    "weights flipped": (flip(form.WEIGHTS), r"weights\.safetensors: damaged"),
    "header flipped": (flip(form.WEIGHTS, 12), r"weights\.safetensors: damaged"),
    "plan flipped": (flip(form.CPU_PLAN, 5), r"plan\.json: damaged"),
    "config flipped": (flip("config.json"), r"config\.json: damaged"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_found(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(ArtifactError, match=message) as caught:
        Artifact.open(folder)
    assert str(folder) in caught.value.where and caught.value.hint


def test_damage_in_any_chunk_is_found(folder: Path, tiny: Any) -> None:
    content = tiny.pack_weights({"big": np.zeros(2 * form.CHUNK_BYTES + 64, np.uint8).tobytes()})
    (folder / form.WEIGHTS).write_bytes(content)
    tiny.write_manifest(folder, [form.WEIGHTS])
    assert len(form.describe_file(folder / form.WEIGHTS).chunks) == 3
    assert Artifact.open(folder).weights["big"].sum() == 0
    for place in (200, form.CHUNK_BYTES, 2 * form.CHUNK_BYTES + 5, len(content) - 1):
        flip(form.WEIGHTS, place)(folder)
        with pytest.raises(ArtifactError, match="damaged"):
            Artifact.open(folder)
        Artifact.open(folder, verify=False)
        flip(form.WEIGHTS, place)(folder)


def header(entry: Any, kind: str = form.FORMAT) -> bytes:
    text = json.dumps({"__metadata__": {"format": kind}, "w": entry}).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return len(text).to_bytes(8, "little") + text + bytes(128)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut off"),
        (b"1234", "cut off"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "cut off"),
        ((4).to_bytes(8, "little") + b"oops", "not JSON"),
        (header({}, "pt"), "not say that the weights are packed"),
        (header([]), "entry of w"),
        (header({"dtype": "F32", "data_offsets": [0, 64]}), "entry of w"),
        (header({"dtype": "U8", "data_offsets": [0, 129]}), "entry of w"),
        (header({"dtype": "U8", "data_offsets": [64, 0]}), "entry of w"),
        (header({"dtype": "U8", "data_offsets": [-64, 0]}), "entry of w"),
        (header({"dtype": "U8", "data_offsets": ["0", 64]}), "entry of w"),
        (header({"dtype": "U8", "data_offsets": [32, 64]}), "no multiple of 64"),
    ],
)
def test_a_malformed_weight_file_is_refused(
    folder: Path, tiny: Any, content: bytes, message: str
) -> None:
    (folder / form.WEIGHTS).write_bytes(content)
    tiny.write_manifest(folder, [form.WEIGHTS])
    with pytest.raises(ArtifactError, match=message):
        Artifact.open(folder)
