"""Open an artifact: check every byte of it, then offer its files and its mapped weights.

Nothing in an artifact is executed or unpickled before its hash has been checked.
"""

import hashlib
import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError

from .artifact_format import (
    CHUNK_BYTES,
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    WEIGHTS,
    FileEntry,
    hash_chunks,
)
from .verified import default_verified
from .weight_file import parse_weights

_DAMAGED = "Copy the artifact again, or compile the model again."


@dataclass(frozen=True)
class Artifact:
    """A checked artifact.  The weights stay mapped for as long as the object or a view lives."""

    path: Path
    manifest: Mapping[str, Any]
    weights: Mapping[str, NDArray[np.uint8]]
    """Packed weights by name, read-only and flat, at addresses that are multiples of 64."""

    @staticmethod
    def open(path: str | Path, *, verify: bool = True, again: bool = False) -> "Artifact":
        """Open the artifact in the folder `path`; with `verify`, compare all hashes.

        Weights that were compared before and have not been written to since are compared only with
        `again`.
        Raises `ArtifactError` where it is missing, damaged, or of a format this version does not
        read.  Sizes are compared even without `verify`.
        """
        folder = Path(path)
        manifest = _read_manifest(folder)
        entries = _read_entries(folder, manifest)
        for name, entry in entries.items():
            _check_size(folder / name, entry)
        for name, entry in entries.items():
            if verify and name != WEIGHTS:
                _check_hash(folder / name, entry, _map(folder / name))
        weights = _map(folder / WEIGHTS)
        if verify:
            _check_weights(folder / WEIGHTS, entries[WEIGHTS], weights, again=again)
        return Artifact(folder, manifest, parse_weights(folder / WEIGHTS, weights))

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files but the manifest."""
        return tuple(self.manifest["files"])

    def read_bytes(self, name: str) -> bytes:
        """Return the content of one file; raises `ArtifactError` where the artifact lacks it."""
        if name not in self.manifest["files"]:
            raise ArtifactError(
                f"holds no {name}", where=str(self.path), hint="Compile the model again for this."
            )
        return (self.path / name).read_bytes()

    def read_text(self, name: str) -> str:
        """Return one file as UTF-8 text."""
        return self.read_bytes(name).decode()

    def read_json(self, name: str) -> Any:
        """Return one file as JSON; raises `ArtifactError` where it is none."""
        return _parse_json(self.path / name, self.read_bytes(name))


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.exists():
        raise ArtifactError(
            "there is no such folder",
            where=str(folder),
            hint="Check the path, or run ingot compile.",
        )
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(
            f"not an artifact: it holds no {MANIFEST}",
            where=str(folder),
            hint="Give the .ingot folder that ingot compile wrote.",
        )
    manifest = _parse_json(path, path.read_bytes())
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError("not the manifest of an artifact", where=str(path), hint=_DAMAGED)
    version = manifest.get("format_version")
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"format version {version}, and this version of Ingot reads {FORMAT_VERSION}",
            where=str(path),
            hint=f"Compile the model again (it was compiled by {manifest.get('ingot_version')}).",
        )
    return manifest


def _parse_json(path: Path, data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ArtifactError(f"not JSON: {error}", where=str(path), hint=_DAMAGED) from error


def _read_entries(folder: Path, manifest: dict[str, Any]) -> dict[str, FileEntry]:
    files = manifest.get("files")
    if not isinstance(files, dict) or WEIGHTS not in files:
        raise ArtifactError(
            f"'files' does not list {WEIGHTS}", where=str(folder / MANIFEST), hint=_DAMAGED
        )
    return {name: _read_entry(folder / MANIFEST, name, entry) for name, entry in files.items()}


def _read_entry(path: Path, name: str, entry: object) -> FileEntry:
    parts = PurePosixPath(name)
    if not parts.parts or parts.is_absolute() or ".." in parts.parts:
        raise ArtifactError(f"{name!r} leads outside the artifact", where=str(path), hint=_DAMAGED)
    if isinstance(entry, dict) and isinstance(entry.get("bytes"), int):
        size, sha256, chunks = entry["bytes"], entry.get("sha256"), entry.get("chunks")
        if isinstance(sha256, str) and chunks is None:
            return FileEntry(size, sha256=sha256)
        if isinstance(chunks, list) and len(chunks) == -(-size // CHUNK_BYTES):
            return FileEntry(size, chunks=tuple(str(chunk) for chunk in chunks))
    raise ArtifactError(f"the entry of {name} is malformed", where=str(path), hint=_DAMAGED)


def _check_size(path: Path, entry: FileEntry) -> None:
    if not path.is_file():
        raise ArtifactError("the file is missing", where=str(path), hint=_DAMAGED)
    size = path.stat().st_size
    if size != entry.bytes:
        raise ArtifactError(
            f"{size} bytes instead of {entry.bytes}", where=str(path), hint=_DAMAGED
        )


def _map(path: Path) -> memoryview:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return memoryview(b"")
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise ArtifactError(f"cannot be read: {error}", where=str(path), hint=_DAMAGED) from error


def _check_weights(path: Path, entry: FileEntry, data: memoryview, *, again: bool) -> None:
    hashes = entry.chunks or (entry.sha256,)
    before, verified = path.stat(), default_verified()
    if not again and verified.knows(path, hashes):
        return
    _check_hash(path, entry, data)
    verified.remember(path, before, hashes)
    if isinstance(data.obj, mmap.mmap):
        data.obj.madvise(mmap.MADV_DONTNEED)  # what was read does not count as ours for ever


def _check_hash(path: Path, entry: FileEntry, data: memoryview) -> None:
    if entry.chunks:
        sound = list(entry.chunks) == hash_chunks(data)
    else:
        sound = entry.sha256 == hashlib.sha256(data).hexdigest()
    if not sound:
        raise ArtifactError(
            "damaged: its SHA-256 differs from the manifest's", where=str(path), hint=_DAMAGED
        )
