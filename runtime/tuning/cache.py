"""Measured choices, kept in the user's cache folder by what they were measured on.

An entry is found by the processor, the number of threads, the level and the code of the kernels.
What cannot be read, or is not what was asked for, is a miss; what cannot be written is lost.
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ingot.knobs import CACHE_DIR

from .choice import Choice, Choices, Family

_FORMAT = 1
_CPUINFO = Path("/proc/cpuinfo")
_PROCESSOR_FIELDS = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features")
_FIRST_PROCESSOR_BYTES = 8192


@dataclass(frozen=True)
class TuningCache:
    """Choices in `folder`, one file for each key."""

    folder: Path

    def get(self, key: str, families: Mapping[str, Family]) -> Choices | None:
        """Return a choice for each of `families`, or None where one is missing or not sound."""
        try:
            document = json.loads((self.folder / f"{key}.json").read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(document, dict) or document.get("format") != _FORMAT:
            return None
        stored = document.get("choices")
        if not isinstance(stored, dict):
            return None
        choices = {name: _choice(stored.get(name)) for name in families}
        sound = {
            name: choice
            for name, choice in choices.items()
            if choice is not None and families[name].accepts(choice)
        }
        return sound if len(sound) == len(families) else None

    def put(self, key: str, choices: Choices) -> None:
        """Keep the choices, whole or not at all; a disk that refuses costs the next measurement."""
        text = json.dumps({"format": _FORMAT, "choices": choices})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            new = self.folder / f".new-{os.getpid()}-{key}"
            new.write_text(text, encoding="utf-8")
            os.replace(new, self.folder / f"{key}.json")
        except OSError:
            return


def default_cache() -> TuningCache:
    """Return the cache in the folder of the knob INGOT_CACHE_DIR."""
    return TuningCache(CACHE_DIR.get().expanduser() / "tuning")


def key_of(level: str, threads: int, code: str) -> str:
    """Return the name of the entry for kernels of a level (`code`: their hash) on this machine."""
    stated = json.dumps([_FORMAT, processor(), level, threads, code])
    return hashlib.sha256(stated.encode()).hexdigest()[:32]


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """Return what tells this kind of processor from others: its model and its features.

    Only the first processor is read: a list of hundreds takes the system milliseconds.
    """
    try:
        with cpuinfo.open("rb", buffering=0) as file:
            text = file.read(_FIRST_PROCESSOR_BYTES).decode(errors="replace")
    except OSError:
        return platform.machine()
    lines = text.split("\n\n")[0].splitlines()
    fields = (line.partition(":") for line in lines)
    known = {name.strip(): value.strip() for name, _, value in fields}
    return " ".join([platform.machine(), *(known.get(name, "") for name in _PROCESSOR_FIELDS)])


def _choice(stored: object) -> Choice | None:
    if not isinstance(stored, list):
        return None
    rows = []
    for entry in stored:
        match entry:
            case [int() | None as most, str() as symbol] if not isinstance(most, bool):
                rows.append((most, symbol))
            case _:
                return None
    return tuple(rows)
