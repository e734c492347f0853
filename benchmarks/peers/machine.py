"""The machine that a result was measured on, and what it can do at the moment."""

import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from limits import LIMIT_KERNELS, Limits, Team, aligned, best_level, load, measure_limits

POOL_BYTES = 320_000_000
TRIES = 5


def describe() -> dict[str, str | int]:
    """Return what identifies the machine's speed: processor, cores, memory, system."""
    text = Path("/proc/cpuinfo").read_text()
    memory = Path("/proc/meminfo").read_text()
    found = {
        name: match[1] if (match := re.search(rf"^{name}\s*: (.*)$", text, re.MULTILINE)) else ""
        for name in ("model name", "cpu family", "model", "flags")
    }
    wanted = ("avx2", "avx512", "amx", "avx_vnni", "avxvnni")
    total = re.search(r"^MemTotal:\s*(\d+)", memory, re.MULTILINE)
    kind = f"family {found['cpu family']}, model {found['model']}"
    return {
        "processor": f"{found['model name']} ({kind})",
        "instructions": " ".join(f for f in found["flags"].split() if f.startswith(wanted)),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(total[1]) / 1e6) if total else 0,
        "system": f"{platform.system()} {platform.release()}",
        "level": best_level().name,
    }


@dataclass(frozen=True)
class Moment:
    """The limits at one moment: GB/s read, GOP/s of int8, bf16 and f32."""

    read: float
    int8: float
    bf16: float
    f32: float

    def as_dict(self) -> dict[str, float]:
        """Return it for JSON."""
        return asdict(self)

    def slower_than(self, best: "Moment", share: float) -> bool:
        """Whether the cores give less than `share` of the best seen: others had part of them."""
        return self.int8 < share * best.int8


def best_of(moments: Sequence[Moment]) -> Moment:
    """Return the best of each limit."""
    return Moment(*(max(each) for each in zip(*map(_values, moments), strict=True)))


def _values(moment: Moment) -> tuple[float, float, float, float]:
    return moment.read, moment.int8, moment.bf16, moment.f32


class Probe:
    """Measures the limits by kernels of our own, on as many threads as the runtimes get."""

    def __init__(self, threads: int) -> None:
        self._code = load(LIMIT_KERNELS, best_level())
        self._team, self._pool = Team(threads, "wall"), aligned(POOL_BYTES)
        self._pool[:] = 1

    def measure(self) -> Moment:
        """Return the medians of a few measurements, which take a fifth of a second in all."""
        found = [measure_limits(self._code, self._team, self._pool) for _ in range(TRIES)]
        return Moment(*map(statistics.median, zip(*map(_values, map(_moment, found)), strict=True)))


def _moment(limits: Limits) -> Moment:
    return Moment(limits.read, limits.dot, limits.bf16, limits.fma)
