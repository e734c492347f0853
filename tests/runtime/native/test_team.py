"""The thread team: work is shared, whoever is late or beside whomever; idle is idle."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.runtime import _native
from ingot.runtime.machine import available_memory, usable_threads

PHASES = [(1, False), (8, False), (100, True), (3, False), (1000, False), (0, False), (2, True)]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_every_grain_is_executed_once_and_in_its_phase(size: int) -> None:
    team = _native.ThreadTeam(size, len(PHASES))
    assert team.size == size
    for rounds in (1, 300):
        _, violations, executed = team.check_sharing(PHASES, rounds)
        assert violations == 0
        assert sum(executed) == rounds * sum(grains for grains, _ in PHASES)


@pytest.mark.parametrize("in_turn", [False, True])
def test_the_others_do_what_a_late_member_leaves(in_turn: bool) -> None:
    team = _native.ThreadTeam(3)
    phases = [(1000, in_turn)]
    seconds, violations, executed = team.check_sharing(phases, 20, late_member=1, delay=0.02)
    assert violations == 0 and sum(executed) == 20_000
    # Each time it holds no more than it took at once, and is waited for once.
    assert executed[1] <= 20 * (1 if in_turn else 1000 // 3 // 2 + 1)
    assert seconds < 20 * 0.02 * 2.5


def test_more_phases_than_the_team_was_made_for() -> None:
    with pytest.raises(ValueError, match="7 phases"):
        _native.ThreadTeam(2, 6).check_sharing(PHASES)


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
def test_work_is_shared_beside_a_busy_process(size: int) -> None:
    team = _native.ThreadTeam(size, 2)
    seconds, violations, _ = team.check_sharing([(64, False), (2, False)], 300)
    assert violations == 0
    # A team that never yields loses a slice of several milliseconds in most phases.
    assert seconds < 600 * 0.01


def test_a_team_that_loses_cpus_goes_on_smaller_and_grows_again() -> None:
    team = _native.ThreadTeam(2)
    for _ in range(10):
        team.check_sharing([(2, True)], 1, late_member=0, delay=0.005)
        if team.active == 1:
            break
    assert team.active == 1
    deadline = time.monotonic() + 30
    while team.active == 1 and time.monotonic() < deadline:
        assert team.check_sharing([(64, False)], 10)[1] == 0
    assert team.active == 2


def test_an_idle_team_uses_no_cpu() -> None:
    team = _native.ThreadTeam(3)
    team.check_sharing([(10, False)])
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.03
    assert team.check_sharing([(10, False)])[1] == 0


def test_the_caller_keeps_its_cpus() -> None:
    allowed = os.sched_getaffinity(0)
    _native.ThreadTeam(len(allowed)).check_sharing([(10, False)])
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.parametrize("size", [0, -1, 100_000])
def test_a_team_of_impossible_size(size: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 1024"):
        _native.ThreadTeam(size)


def test_teams_end() -> None:
    before = threads()
    for _ in range(20):
        _native.ThreadTeam(4).check_sharing([(4, False)], 2)
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
