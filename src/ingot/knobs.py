"""Every environment variable that Ingot reads, as one typed table.

A bad value is an error that names the variable; an unset variable has the default shown here.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ingot.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Knob(Generic[T]):
    """One environment variable: its name, how its text is read, its default and what it is for."""

    name: str
    parse: Callable[[str], T]
    default: T
    help: str

    def get(self, environment: Mapping[str, str] = os.environ) -> T:
        """Return the value in `environment`, or the default where it is unset or empty."""
        text = environment.get(self.name, "")
        if not text:
            return self.default
        try:
            return self.parse(text)
        except ValueError as error:
            raise UsageError(
                f"{text!r} is not a value of {self.name}: {error}", hint=f"{self.name}: {self.help}"
            ) from error


def _debug_level(text: str) -> int:
    level = int(text)
    if not 0 <= level <= 5:
        raise ValueError("expected 0 to 5")
    return level


DEBUG = Knob(
    "INGOT_DEBUG", _debug_level, 0, "0 to 5; how much a compile and the daemon show of what they do"
)
DUMP: Knob[Path | None] = Knob("INGOT_DUMP", Path, None, "a folder for numbered stage files")


def _cpu_level(text: str) -> str:
    if text not in ("generic", "avx2", "avx512", "avx512bf16"):
        raise ValueError("expected generic, avx2, avx512 or avx512bf16")
    return text


CPU_LEVEL: Knob[str | None] = Knob(
    "INGOT_CPU_LEVEL",
    _cpu_level,
    None,
    "generic, avx2, avx512 or avx512bf16: run these kernels, not the best",
)
MODELS = Knob(
    "INGOT_MODELS",
    Path,
    Path("~/.cache/ingot/models"),
    "a folder for models that are fetched",
)
CACHE_DIR = Knob(
    "INGOT_CACHE_DIR",
    Path,
    Path("~/.cache/ingot"),
    "a folder for what a later start takes over: compiled programs, choices of kernels, checks",
)


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("expected on or off")
    return text == "on"


TUNING = Knob(
    "INGOT_TUNING",
    _switch,
    True,
    "on or off: choose kernels by a measurement of 0.3 s at first load",
)
