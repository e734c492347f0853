"""Which large files have been compared with their hashes before, so that a start need not again.

A file is known by its place, inode, size, times of change and expected hashes: whoever writes to it
changes the time that the system keeps for it.  What cannot be read or written here is not known.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ingot.knobs import CACHE_DIR

_RACY_SECONDS = 2.0
"""Changes that follow each other faster may leave the same times behind."""


@dataclass(frozen=True)
class VerifiedFiles:
    """Files that were sound, an empty file each in `folder`."""

    folder: Path

    def knows(self, path: Path, hashes: Sequence[str]) -> bool:
        """Whether the file at `path` had these hashes when it was looked at, and is as then."""
        try:
            return (self.folder / _key(path, path.stat(), hashes)).is_file()
        except OSError:
            return False

    def remember(self, path: Path, before: os.stat_result, hashes: Sequence[str]) -> None:
        """Remember that the file had these hashes; `before` is its state before it was read."""
        if time.time() - max(before.st_mtime, before.st_ctime) < _RACY_SECONDS:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / _key(path, before, hashes)).touch()
        except OSError:
            return


def default_verified() -> VerifiedFiles:
    """Return those in the folder of the knob INGOT_CACHE_DIR."""
    return VerifiedFiles(CACHE_DIR.get().expanduser() / "verified")


def _key(path: Path, state: os.stat_result, hashes: Sequence[str]) -> str:
    place = [str(path.resolve()), state.st_dev, state.st_ino]
    version = [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    return hashlib.sha256(json.dumps([place, version, list(hashes)]).encode()).hexdigest()[:32]
