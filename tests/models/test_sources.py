"""Hashes of a checkpoint's files are made once, whoever asks."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ingot.models import sources
from ingot.models.sources import SourceHashes


def test_threads_that_ask_at_once_read_a_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in ("b", "a")]
    for path in paths:
        path.write_text(path.name)
    read: list[str] = []

    def digest(file: Any, name: str) -> Any:
        read.append(Path(file.name).name)
        return hashlib.new(name, file.read())

    monkeypatch.setattr(sources.hashlib, "file_digest", digest)
    hashes = SourceHashes(paths)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: dict(hashes), range(8)))
    assert read == ["a", "b"]
    assert found == [{name: hashlib.sha256(name.encode()).hexdigest() for name in "ab"}] * 8
