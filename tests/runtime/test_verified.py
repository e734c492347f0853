"""What was compared with its hashes once is not read again, until somebody writes to it."""

import os
import time
from pathlib import Path

import pytest

from ingot.errors import ArtifactError
from ingot.runtime import Artifact, verified
from ingot.runtime import artifact as module
from ingot.runtime.verified import VerifiedFiles

HASHES = ["a", "b"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"1234")
    long_ago = time.time() - 100
    os.utime(path, (long_ago, long_ago))
    return path


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VerifiedFiles:
    # The time of the last change of state cannot be set back, so the clock goes forward.
    later = time.time() + 100
    monkeypatch.setattr(verified.time, "time", lambda: later)
    return VerifiedFiles(tmp_path / "cache")


def test_a_file_is_known_until_it_changes(file: Path, known: VerifiedFiles) -> None:
    assert not known.knows(file, HASHES)
    known.remember(file, file.stat(), HASHES)
    assert known.knows(file, HASHES)
    assert not known.knows(file, ["a", "c"])
    before = file.stat()
    file.write_bytes(b"1235")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as if nothing had happened
    assert not known.knows(file, HASHES)


def test_another_file_in_its_place_is_not_known(file: Path, known: VerifiedFiles) -> None:
    known.remember(file, file.stat(), HASHES)
    file.rename(file.with_name("aside"))
    file.write_bytes(b"1234")
    assert not known.knows(file, HASHES)
    assert not known.knows(file.with_name("nowhere"), HASHES)


def test_what_has_just_been_written_is_not_remembered(file: Path, tmp_path: Path) -> None:
    known = VerifiedFiles(tmp_path / "cache")
    known.remember(file, file.stat(), HASHES)
    assert not known.knows(file, HASHES)


def test_a_cache_that_cannot_be_written_is_no_error(file: Path, known: VerifiedFiles) -> None:
    known.folder.write_text("a file where the folder should be")
    known.remember(file, file.stat(), HASHES)
    assert not known.knows(file, HASHES)


def test_known_weights_are_not_hashed_unless_asked(
    tmp_path: Path, known: VerifiedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"1234")
    entry = module.FileEntry(4, sha256="wrong")
    known.remember(path, path.stat(), [entry.sha256])
    monkeypatch.setattr(module, "default_verified", lambda: known)
    module._check_weights(path, entry, memoryview(b"1234"), again=False)
    with pytest.raises(ArtifactError, match="damaged"):
        module._check_weights(path, entry, memoryview(b"1234"), again=True)
    assert Artifact.open.__kwdefaults__ == {"verify": True, "again": False}
