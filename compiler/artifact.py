"""Writing an artifact: everything into a sibling folder, flushed, then renamed into place.

The folder under its final name is either complete or not there; an existing artifact stays whole
until the new one is.  The manifest is written last and lists every other file with its hashes
(`runtime/artifact_format.py` has the format).  Nothing written depends on the time, the host or a
path, so equal input gives equal bytes.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot import __version__
from ingot.errors import ArtifactError, UsageError
from ingot.runtime import artifact_format as form

NO_DIGEST = "0" * 64
"""As long as a SHA-256 in hexadecimal: stands for one where no bytes are read or made."""


@dataclass(frozen=True)
class WeightEntry:
    """One packed weight: its size, known beforehand, and how to make its bytes."""

    name: str
    num_bytes: int
    make: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Contents:
    """All that an artifact holds.

    `manifest` is what the manifest says beyond the format and the files.  `later` are files that
    are still being made when writing begins: a call waits for the bytes.
    """

    files: Mapping[str, bytes]
    weights: Sequence[WeightEntry]
    manifest: Mapping[str, Any]
    later: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)


def write_artifact(
    destination: Path, contents: Contents, progress: Callable[[str], None] = lambda name: None
) -> int:
    """Write an artifact to `destination`, replacing an artifact that stands there.

    `progress` is called with each weight's name.  Returns the artifact's size in bytes.  Raises
    `UsageError` where `destination` is something else or is being written by another process, and
    `ArtifactError` where the disk is full or refuses; nothing is left behind in either case.
    """
    check_destination(destination)
    with _disk_errors(destination), _staging_folder(destination) as staging:
        entries = {name: _write_file(staging / name, data) for name, data in contents.files.items()}
        entries[form.WEIGHTS] = _write_weights(staging / form.WEIGHTS, contents.weights, progress)
        for name, wait in contents.later.items():
            entries[name] = _write_file(staging / name, wait())
        _write_file(staging / form.MANIFEST, _manifest_text(contents.manifest, entries))
        for folder in {path.parent for path in staging.rglob("*")}:
            _flush_folder(folder)
        size = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
        _move_into_place(staging, destination)
    return size


def artifact_sizes(contents: Contents) -> dict[str, int]:
    """Return the exact bytes of every file that `write_artifact` would write; no weight is made."""
    sizes = {name: len(data) for name, data in contents.files.items()}
    entries = {name: form.FileEntry(size, sha256=NO_DIGEST) for name, size in sizes.items()}
    total = _weight_bytes(contents.weights)
    chunks = (NO_DIGEST,) * -(-total // form.CHUNK_BYTES)
    entries[form.WEIGHTS] = form.FileEntry(total, chunks=chunks)
    sizes[form.WEIGHTS] = total
    sizes[form.MANIFEST] = len(_manifest_text(contents.manifest, entries))
    return sizes


def check_destination(destination: Path) -> None:
    """Raise `UsageError` unless `destination` is free, an empty folder, or an artifact."""
    if not destination.parent.is_dir():
        raise UsageError(
            "the folder does not exist", where=str(destination.parent), hint="Create it first."
        )
    if not destination.exists() and not destination.is_symlink():
        return
    if destination.is_dir() and not destination.is_symlink():
        if not any(destination.iterdir()) or _is_artifact(destination):
            return
    raise UsageError(
        "exists and is not an artifact, so it is left alone",
        where=str(destination),
        hint="Choose another name with --output, or remove it yourself.",
    )


def _is_artifact(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / form.MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == form.FORMAT


def _manifest_text(manifest: Mapping[str, Any], entries: Mapping[str, form.FileEntry]) -> bytes:
    document = {
        "format": form.FORMAT,
        "format_version": form.FORMAT_VERSION,
        "ingot_version": __version__,
        **manifest,
        "files": {name: entry.to_json() for name, entry in sorted(entries.items())},
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


@contextmanager
def _disk_errors(destination: Path) -> Iterator[None]:
    """Turn what a full or refusing disk raises into one message."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise ArtifactError(
            "the disk is full" if full else f"cannot be written: {error.strerror or error}",
            where=str(destination),
            hint="Free some space, or choose another place with --output; nothing was left behind."
            if full
            else "Choose another place with --output.",
        ) from error


@contextmanager
def _staging_folder(destination: Path) -> Iterator[Path]:
    """A locked folder beside `destination`, removed again unless it was moved away.

    What a killed process left behind is cleared; a folder that is locked belongs to a live one.
    """
    staging = destination.parent / f".{destination.name}.partial"
    staging.mkdir(exist_ok=True)
    descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "is being written by another process",
                where=str(destination),
                hint="Wait for it, or choose another name with --output.",
            ) from error
        for leftover in staging.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        try:
            yield staging
        finally:
            if staging.exists():
                shutil.rmtree(staging)
    finally:
        os.close(descriptor)


def _write_file(path: Path, data: bytes) -> form.FileEntry:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return form.FileEntry(len(data), sha256=hashlib.sha256(data).hexdigest())


def safetensors_header(weights: Sequence[WeightEntry]) -> bytes:
    """The header of a safetensors file of uint8 tensors, every one at a multiple of 64 bytes.

    Source: the safetensors format (8 bytes of length, JSON, spaces); tensors follow without holes,
    so each is padded to 64 bytes and its shape says so.
    """
    header: dict[str, Any] = {"__metadata__": {"format": form.FORMAT}}
    offset = 0
    for weight in weights:
        size = padded(weight.num_bytes)
        assert weight.name not in header, f"two weights are called {weight.name}"
        header[weight.name] = {
            "dtype": "U8",
            "shape": [size],
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % form.WEIGHT_ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _weight_bytes(weights: Sequence[WeightEntry]) -> int:
    """The size of the file of weights, its header included."""
    return len(safetensors_header(weights)) + sum(padded(one.num_bytes) for one in weights)


def padded(num_bytes: int) -> int:
    """`num_bytes` rounded up to the alignment of weights."""
    return -(-num_bytes // form.WEIGHT_ALIGNMENT) * form.WEIGHT_ALIGNMENT


def _write_weights(
    path: Path, weights: Sequence[WeightEntry], progress: Callable[[str], None]
) -> form.FileEntry:
    """Stream the weights, holding one at a time, and hash each chunk on the way."""
    header = safetensors_header(weights)
    total = _weight_bytes(weights)
    hasher = _ChunkHasher()
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, total)
        hasher.update(header)
        file.write(header)
        for weight in weights:
            progress(weight.name)
            data = weight.make()
            assert data.dtype == np.uint8 and data.nbytes == weight.num_bytes, (
                f"{weight.name}: {data.nbytes} bytes were packed where {weight.num_bytes} belong"
            )
            flat = np.ascontiguousarray(data).reshape(-1).data
            for piece in (flat, bytes(padded(flat.nbytes) - flat.nbytes)):
                hasher.update(piece)
                file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return form.FileEntry(total, chunks=hasher.finish())


class _ChunkHasher:
    """SHA-256 of every `CHUNK_BYTES` of a stream."""

    def __init__(self) -> None:
        self._chunk, self._room = hashlib.sha256(), form.CHUNK_BYTES
        self._chunks: list[str] = []

    def update(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            piece, view = view[: self._room], view[self._room :]
            self._chunk.update(piece)
            self._room -= len(piece)
            if self._room == 0:
                self._close_chunk()

    def finish(self) -> tuple[str, ...]:
        if self._room < form.CHUNK_BYTES:
            self._close_chunk()
        return tuple(self._chunks)

    def _close_chunk(self) -> None:
        self._chunks.append(self._chunk.hexdigest())
        self._chunk, self._room = hashlib.sha256(), form.CHUNK_BYTES


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_into_place(staging: Path, destination: Path) -> None:
    """Rename `staging` to `destination`; the artifact that stood there is put back on failure."""
    previous = destination.parent / f".{destination.name}.previous"
    if previous.exists():
        shutil.rmtree(previous)
    replaced = destination.exists()
    if replaced:
        destination.rename(previous)
    try:
        staging.rename(destination)
    except BaseException:
        if replaced:
            previous.rename(destination)
        raise
    _flush_folder(destination.parent)
    if replaced:
        shutil.rmtree(previous)
