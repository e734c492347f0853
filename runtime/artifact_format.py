"""The artifact's format: the names in it, the manifest's entries and how its files are hashed.

Writer and reader share this page, so that neither can drift.  The manifest is one JSON object:

    {"format": "ingot", "format_version": 1, "ingot_version": "0.1.0",
     "files": {"config.json":         {"bytes": 658, "sha256": "…"},
               "weights.safetensors": {"bytes": 94371840, "chunks": ["…", …]}, …},
     …}                      further keys (sources, pipeline, report, …) are not read here

`files` lists every file but the manifest.  `chunks` are the hashes of consecutive pieces of
`CHUNK_BYTES`, the last one shorter, so that a large file is checked on all cores.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FORMAT = "ingot"
FORMAT_VERSION = 1
CHUNK_BYTES = 16 << 20
WEIGHT_ALIGNMENT = 64
"""Bytes that the address of every tensor in the mapped weight file is a multiple of."""

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
GRAPH = "graph.mlirbc"
CPU_PLAN = "targets/cpu/plan.json"
CPU_KERNELS = "targets/cpu/kernels-{level}.o"


@dataclass(frozen=True)
class FileEntry:
    """What the manifest says of one file: its size and either one hash or a hash for each chunk."""

    bytes: int
    sha256: str = ""
    chunks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the entry as it stands in the manifest."""
        if self.chunks:
            return {"bytes": self.bytes, "chunks": list(self.chunks)}
        return {"bytes": self.bytes, "sha256": self.sha256}


def describe_file(path: Path) -> FileEntry:
    """Hash the file at `path`; one longer than a chunk is hashed in chunks."""
    size = path.stat().st_size
    if size <= CHUNK_BYTES:
        return FileEntry(size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return FileEntry(size, chunks=tuple(_read_and_hash(path, size)))


def hash_chunks(data: memoryview) -> list[str]:
    """Return the SHA-256 of each chunk of `data` in hexadecimal, computed on all allowed CPUs."""
    pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool:
        return list(pool.map(lambda piece: hashlib.sha256(piece).hexdigest(), pieces))


def _read_and_hash(path: Path, size: int) -> Iterator[str]:
    with path.open("rb") as file:
        for start in range(0, size, CHUNK_BYTES):
            yield hashlib.sha256(file.read(min(CHUNK_BYTES, size - start))).hexdigest()
