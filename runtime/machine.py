"""What this process may use of the machine: CPUs and memory, the limits of containers included."""

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_MEMORY = Path("/proc/meminfo")


def usable_threads(cgroup: Path = _CGROUP) -> int:
    """CPUs that the process may run on at once: its affinity, cut to the cgroup's quota."""
    allowed = len(os.sched_getaffinity(0))
    quota = _cpu_quota(cgroup)
    return max(1, allowed if quota is None else min(allowed, int(quota)))


def available_memory(cgroup: Path = _CGROUP, meminfo: Path = _MEMORY) -> int:
    """Bytes that can be used without swapping, cut to what the cgroup has left."""
    available = _meminfo(meminfo, "MemAvailable")
    for limit_file, used_file in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit, used = _number(cgroup / limit_file), _number(cgroup / used_file)
        if limit is not None and used is not None:
            available = min(available, max(0, limit - used))
    return available


def _cpu_quota(cgroup: Path) -> float | None:
    """CPUs' worth of time that the cgroup grants, or None where it sets no limit."""
    text = _text(cgroup / "cpu.max").split()
    if len(text) == 2 and text[0].isdigit() and int(text[1]) > 0:
        return int(text[0]) / int(text[1])
    quota = _number(cgroup / "cpu/cpu.cfs_quota_us")
    period = _number(cgroup / "cpu/cpu.cfs_period_us")
    return quota / period if quota and period else None


def _meminfo(path: Path, key: str) -> int:
    for line in _text(path).splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) << 10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
