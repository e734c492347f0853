"""The thread team: its barrier holds, oversubscribed and beside a busy process; idle is idle."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.runtime import _native
from ingot.runtime.machine import available_memory, usable_threads


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_barrier_holds(size: int) -> None:
    team = _native.ThreadTeam(size)
    assert team.size == size
    for rounds in (1, 2, 500, 0, 3):
        assert team.check_barrier(rounds)[1] == 0


@pytest.fixture
def busy_process() -> Iterator[None]:
    """A process that takes one CPU for itself."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    time.sleep(0.2)
    yield
    process.kill()
    process.wait()


@pytest.mark.usefixtures("busy_process")
@pytest.mark.parametrize("size", [2, 4])
def test_the_barrier_holds_beside_a_busy_process(size: int) -> None:
    team = _native.ThreadTeam(size)
    seconds, violations = team.check_barrier(300)
    assert violations == 0
    # A team that never yields loses a slice of several milliseconds at most barriers.
    assert seconds < 600 * 0.01


def test_an_idle_team_uses_no_cpu() -> None:
    team = _native.ThreadTeam(3)
    team.check_barrier(10)
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.03
    assert team.check_barrier(10)[1] == 0


def test_the_caller_keeps_its_cpus() -> None:
    allowed = os.sched_getaffinity(0)
    team = _native.ThreadTeam(len(allowed))
    assert team.pinned == (len(allowed) > 1)
    team.check_barrier(10)
    assert os.sched_getaffinity(0) == allowed
    assert not _native.ThreadTeam(len(allowed) + 1).pinned


@pytest.mark.parametrize("size", [0, -1, 100_000])
def test_a_team_of_impossible_size(size: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 1024"):
        _native.ThreadTeam(size)


def test_teams_end() -> None:
    before = threads()
    for _ in range(20):
        _native.ThreadTeam(4).check_barrier(2)
    assert threads() == before


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_containers_limit_threads_and_memory(tmp_path: Path) -> None:
    allowed = len(os.sched_getaffinity(0))
    assert usable_threads(tmp_path) == allowed
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_threads(tmp_path) == allowed
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert usable_threads(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_threads(tmp_path) == 1
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 2000 kB\nMemAvailable: 1000 kB\n")
    assert available_memory(tmp_path, meminfo) == 1000 << 10
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("4096\n")
    assert available_memory(tmp_path, meminfo) == 1000 << 10
    (tmp_path / "memory.max").write_text("10240\n")
    assert available_memory(tmp_path, meminfo) == 6144
