"""Programs compiled for devices that are not there: CPUs, TPUs and GPUs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.errors import UnsupportedError
from ingot.executables import ExecutableCache
from ingot.targets.xla import compiling
from ingot.targets.xla.compiling import CompileError, OutOfMemory, ProgramCompiler, require
from ingot.targets.xla.compiling.failures import last_words, refusal
from ingot.targets.xla.platform import Platform

from .programs import linear_program

CPU = Platform("cpu")
V5E = Platform("tpu", "v5e:2x4", 8)


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProgramCompiler]:
    with ProgramCompiler(ExecutableCache(tmp_path_factory.mktemp("cache"))) as compiler:
        yield compiler


@pytest.mark.parametrize(
    ("platform", "devices"),
    [(CPU, 8), (V5E, 8), (Platform("cuda", "sm90"), 4), (Platform("cuda", "a800"), 2)],
    ids=["cpu", "v5e", "sm90", "a800"],
)
def test_a_program_is_compiled_for_its_devices(
    compiler: ProgramCompiler, platform: Platform, devices: int
) -> None:
    compiled = compiler.compile(linear_program(devices), platform, devices)
    assert compiled.executable
    assert "all-reduce" in compiled.hlo
    assert compiled.flops >= 2 * 8 * 256 * 512
    assert compiled.memory.arguments >= 8 * 256 * 4 + 256 * 512 * 2 + 64 * 512 * 4
    assert compiled.memory.aliased == 64 * 512 * 4
    assert compiled.devices == devices and not compiled.cached


def test_the_last_devices_of_a_topology_can_be_chosen(compiler: ProgramCompiler) -> None:
    first = compiler.compile(linear_program(4), V5E, 4)
    last = compiler.compile(linear_program(4), V5E, 4, assigned=(4, 5, 6, 7))
    assert not last.cached and last.executable != first.executable


def test_what_was_compiled_is_not_compiled_again(tmp_path: Path) -> None:
    cache = ExecutableCache(tmp_path)
    with ProgramCompiler(cache) as compiler:
        first = compiler.compile(linear_program(2), CPU, 2)
    with ProgramCompiler(cache, command=["/no/such/program"]) as compiler:
        again = compiler.compile(linear_program(2), CPU, 2)
    assert again.cached
    assert (again.executable, again.memory, again.hlo) == (
        first.executable,
        first.memory,
        first.hlo,
    )


@pytest.mark.parametrize("platform", [V5E, Platform("cuda", "sm80")], ids=["v5e", "sm80"])
def test_a_program_that_does_not_fit_is_refused_with_numbers(
    compiler: ProgramCompiler, platform: Platform
) -> None:
    with pytest.raises(OutOfMemory) as caught:
        compiler.compile(linear_program(8, 262144, 262144), platform, 8)
    assert caught.value.needs > 128 << 30
    assert 15 << 30 < caught.value.has < 80 << 30
    assert "GiB too much" in str(caught.value)


def test_a_program_that_is_none_is_refused(compiler: ProgramCompiler) -> None:
    with pytest.raises(CompileError, match="'garbage' is unknown"):
        compiler.compile("module {garbage}", CPU, 1)
    assert compiler.compile(linear_program(1), CPU, 1).executable


def test_a_topology_is_described_or_refused(compiler: ProgramCompiler) -> None:
    facts = compiler.describe(V5E)
    assert facts.kind == "TPU v5 lite"
    assert facts.coordinates[7] == (1, 3, 0, 0)
    with pytest.raises(CompileError, match="not divisible"):
        compiler.describe(Platform("tpu", "v5p:2x3x2"))


def test_the_end_of_the_worker_is_one_error_with_its_last_words(tmp_path: Path) -> None:
    code = (
        "import os, sys; print('F0101 00:00:00.1 7 a.cc:3] Check failed: it broke\\n    @ 0x12',"
        "file=sys.stderr, flush=True); sys.stdin.readline(); os.abort()"
    )
    with ProgramCompiler(ExecutableCache(tmp_path), [sys.executable, "-c", code]) as compiler:
        for _ in range(2):
            with pytest.raises(CompileError, match=r"status -6: Check failed: it broke\n"):
                compiler.compile(linear_program(1), CPU, 1)


def test_last_words_are_no_trace_of_the_stack() -> None:
    assert last_words("I0101 00:00:00.1 7 b/a.cc:3] fine\nLLVM ERROR: no\n\n*** end\n    @ f") == (
        "LLVM ERROR: no"
    )
    assert last_words("") == ""


@pytest.mark.parametrize(
    "message",
    [
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (32.00G) exceeds available HBM (15.75G).",
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space "
        "hbm. Used 32.00G of 15.75G hbm. Exceeded hbm capacity by 16.25G.",
        "RESOURCE_EXHAUSTED: 32.00G exceeds available HBM (15.75G)",
    ],
)
def test_every_way_to_run_out_of_memory_is_read(message: str) -> None:
    error = refusal(message, "tpu v5e:2x4")
    assert isinstance(error, OutOfMemory)
    assert (error.needs, error.has) == (32 << 30, int(15.75 * 2**30))


def test_what_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"jaxlib": "0.10.2", "libtpu": "0.0.52"}

    def version(name: str) -> str:
        if name not in versions:
            raise compiling.requirements.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(compiling.requirements, "version", version)
    with pytest.raises(UnsupportedError, match=r"libtpu 0.0.52 is installed, 0.0.42.\* is needed"):
        require("tpu")
    with pytest.raises(UnsupportedError, match=r'pip install "ingot\[xla-cuda\]"'):
        require("cuda")
    assert require("cpu") is None
    del versions["jaxlib"]
    with pytest.raises(UnsupportedError, match=r'pip install "ingot\[xla\]"'):
        require("cpu")
