"""The files that a checkpoint was read from, with their hashes computed on demand."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock


class SourceHashes(Mapping[str, str]):
    """File name → sha256 in hexadecimal; a file is read when its hash is first asked for.

    Threads may ask at the same time: no file is read twice.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = {file.name: file for file in sorted(files)}
        self._known: dict[str, str] = {}
        self._reading = Lock()

    def __getitem__(self, name: str) -> str:
        with self._reading:
            if name not in self._known:
                with self._files[name].open("rb") as file:
                    self._known[name] = hashlib.file_digest(file, "sha256").hexdigest()
            return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)
