"""The executor of a mesh, on a program written by hand: results, and whatever may be wrong."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot.errors import ArtifactError, UsageError
from ingot.executables import platform_build
from ingot.runtime.artifact import Artifact
from ingot.runtime.executors import open_executor
from ingot.runtime.xla import memory, pjrt
from ingot.runtime.xla.executor import XlaExecutor

from . import toy

Open = Callable[..., Any]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "xla"


@pytest.fixture
def open_toy(tmp_path: Path, cache: Path) -> Open:
    """`open_toy(files=…, options=…, fields of the plan…)`: an executor of the toy artifact."""

    def open_(
        files: dict[str, bytes] | None = None,
        options: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Any:
        folder = toy.write_artifact(tmp_path / "toy.ingot", toy.plan(**changes), files)
        return open_executor(Artifact.open(folder), **(options or {}))

    return open_


def executable(tokens: int) -> bytes:
    group = pjrt.open_client("cpu", 4).group(range(4))
    return group.compile(toy.program(tokens)).serialize()


def with_executables(**changes: Any) -> dict[str, Any]:
    steps = toy.plan()["steps"]
    for step in steps:
        step["stages"][0]["executable"] = f"targets/xla/{step['tokens']}.bin"
    return {"steps": steps, **changes}


def test_rows_come_back_in_their_order_from_both_groups(open_toy: Open) -> None:
    executor = open_toy()
    assert isinstance(executor, XlaExecutor)
    assert executor.limits.data_groups == 2 and executor.limits.max_step_tokens == 16
    tokens = [[1, 2, 3], [4], [5, 6]]
    found = executor.step(toy.batch(tokens, [1, 0, 1]))
    np.testing.assert_array_equal(found, toy.logits([1, 2, 3, 4, 5, 6], 1))
    found = executor.step(toy.batch([[7], [8]], [1, 0]))
    np.testing.assert_array_equal(found, toy.logits([7, 8], 2))
    executor.close()
    executor.close()


def test_a_batch_that_no_step_holds_runs_in_parts(open_toy: Open) -> None:
    executor = open_toy()
    long = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    found = executor.step(toy.batch([long, [3]], [0, 1]))
    expected = toy.logits([*long, 3], 1)
    expected[8:12] += 1  # its second run
    np.testing.assert_array_equal(found, expected)


def test_a_step_without_rows_gives_none(open_toy: Open) -> None:
    executor = open_toy()
    batch = toy.batch([[1, 2, 3]], [0])
    nothing = type(batch)(
        batch.token_ids, batch.positions, batch.starts, batch.block_tables, batch.row_ids[:0]
    )
    assert executor.step(nothing).shape == (0, toy.VOCAB)
    assert (executor.step(batch) == toy.logits([1, 2, 3], 2)).all()


def test_programs_are_compiled_when_needed_and_kept(open_toy: Open, cache: Path) -> None:
    executor = open_toy()
    assert not cache.exists()
    executor.step(toy.batch([[1]], [0]))
    [kept] = cache.iterdir()
    again = open_toy()
    stamp = (kept / "executable.bin").stat().st_mtime_ns
    assert (again.step(toy.batch([[1]], [0])) == toy.logits([1], 1)).all()
    assert [kept] == list(cache.iterdir())
    assert (kept / "executable.bin").stat().st_mtime_ns == stamp


def test_a_damaged_entry_of_the_cache_is_compiled_anew(open_toy: Open, cache: Path) -> None:
    open_toy().step(toy.batch([[1]], [0]))
    [kept] = cache.iterdir()
    (kept / "executable.bin").write_bytes(b"rubbish")
    assert (open_toy().step(toy.batch([[1]], [0])) == toy.logits([1], 1)).all()
    assert (kept / "executable.bin").read_bytes() != b"rubbish"


def test_executables_of_the_artifact_are_taken(open_toy: Open, cache: Path) -> None:
    files = {f"targets/xla/{tokens}.bin": executable(tokens) for tokens, _, _ in toy.STEPS}
    programs = {f"targets/xla/{tokens}.mlir": b"not read" for tokens, _, _ in toy.STEPS}
    executor = open_toy(files | programs, **with_executables())
    assert (executor.step(toy.batch([[1]], [0])) == toy.logits([1], 1)).all()
    assert not cache.exists()


def test_executables_of_another_build_are_compiled_again(
    open_toy: Open, caplog: pytest.LogCaptureFixture
) -> None:
    files = {f"targets/xla/{tokens}.bin": b"other code" for tokens, _, _ in toy.STEPS}
    with caplog.at_level(logging.WARNING, "ingot.xla"):
        executor = open_toy(files, **with_executables(compiler={"build": "jaxlib 0"}))
        assert (executor.step(toy.batch([[1]], [0])) == toy.logits([1], 1)).all()
        assert (executor.step(toy.batch([[1, 2, 3]], [0])) == toy.logits([1, 2, 3], 2)).all()
    [record] = caplog.records
    assert "compiled by jaxlib 0" in record.getMessage()
    assert "compiled again" in record.getMessage()


def test_an_executable_that_does_not_load_is_compiled_again(
    open_toy: Open, caplog: pytest.LogCaptureFixture
) -> None:
    files = {f"targets/xla/{tokens}.bin": b"no code" for tokens, _, _ in toy.STEPS}
    executor = open_toy(files, **with_executables())
    assert (executor.step(toy.batch([[1]], [0])) == toy.logits([1], 1)).all()
    assert "not an executable of this build" in caplog.text


def test_a_truncated_program_is_refused_by_name(open_toy: Open) -> None:
    executor = open_toy({"targets/xla/2.mlir": toy.program(2)[:700]})
    with pytest.raises(ArtifactError, match="XLA does not compile it") as caught:
        executor.step(toy.batch([[1]], [0]))
    assert caught.value.where.endswith("toy.ingot/targets/xla/2.mlir")
    assert (executor.step(toy.batch([[1, 2, 3]], [0])) == toy.logits([1, 2, 3], 1)).all()


def test_a_plan_of_another_version_is_refused(open_toy: Open) -> None:
    with pytest.raises(ArtifactError, match="plan version 7, this Ingot runs 1"):
        open_toy(version=7)


def test_a_weight_that_is_missing_or_short_is_refused(open_toy: Open) -> None:
    [parameter] = toy.plan()["parameters"]
    missing = {**parameter, "parts": {"axes": ["tp"], "weights": ["table@tp0", "table@tp2"]}}
    with pytest.raises(ArtifactError, match=r"parameter table: no such packed weight.*table@tp2"):
        open_toy(parameters=[missing])
    with pytest.raises(ArtifactError, match="parameter table: no such packed weight"):
        open_toy(parameters=[{**parameter, "shape": [10, 100]}])


def stand_in_for_a_tpu(monkeypatch: pytest.MonkeyPatch, devices: int) -> None:
    """Let so many devices of this CPU pass for those of a TPU."""
    monkeypatch.setattr(pjrt, "check_installed", lambda platform: None)
    handle = pjrt.open_client("cpu", devices).handle
    monkeypatch.setattr(pjrt, "_open_plugin", lambda xla, platform: handle)


def test_an_accelerator_has_its_programs_before_the_first_request(
    open_toy: Open, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_for_a_tpu(monkeypatch, 4)
    files = {f"targets/xla/{tokens}.bin": executable(tokens) for tokens, _, _ in toy.STEPS}
    here = {"build": platform_build("tpu")}
    executor = open_toy(files, **with_executables(platform="tpu", compiler=here))
    assert not cache.exists()
    assert (executor.step(toy.batch([[1], [2]], [0, 1])) == toy.logits([1, 2], 1)).all()
    open_toy(files, **with_executables(platform="tpu", compiler={"build": "libtpu 0"}))
    assert len(list(cache.iterdir())) == len(toy.STEPS)


MISSING = """
import importlib.metadata as metadata, sys
found = metadata.version
def version(name):
    if name == "jaxlib":
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.version = version
sys.modules |= {"jaxlib": None, "ml_dtypes": None}
from ingot.compiler.cli.main import main
sys.exit(main(["run", sys.argv[1], "Hi"]))
"""


def test_a_host_without_jaxlib_is_told_what_to_install(tmp_path: Path) -> None:
    folder = toy.write_artifact(tmp_path / "toy.ingot", toy.plan())
    run = subprocess.run(
        [sys.executable, "-c", MISSING, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == (
        'ingot: running this artifact needs jaxlib\n  Run pip install "ingot[xla]".\n'
    )


def test_an_artifact_for_tpus_asks_for_one(tmp_path: Path) -> None:
    folder = toy.write_artifact(tmp_path / "toy.ingot", toy.plan(platform="tpu"), family="tpu")
    with pytest.raises(UsageError, match="this host has no tpu device that can be used"):
        open_executor(Artifact.open(folder))


def test_a_device_that_is_too_small_is_said(
    open_toy: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_for_a_tpu(monkeypatch, 4)
    monkeypatch.setattr(pjrt.Client, "free_memory", lambda self: 500)
    with pytest.raises(UsageError, match=r"each device would hold 0\.0 MB .* 0\.0 MB are free"):
        open_toy(platform="tpu")


def test_too_few_devices_are_said(open_toy: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_for_a_tpu(monkeypatch, 1)
    with pytest.raises(UsageError, match="this host has 1 tpu devices, and the artifact runs on 4"):
        open_toy(platform="tpu")


def test_too_little_memory_is_said(open_toy: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 10)
    with pytest.raises(
        UsageError, match=r"would hold 0\.0 MB of weights and KV cache, and 0\.0 MB"
    ) as caught:
        open_toy()
    assert "--kv-pages" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 2}, "takes no number of threads"),
        ({"kv_pages": 4}, "has 8 pages, fixed when it was compiled"),
        ({"kv_memory": 1 << 20}, "has 8 pages, fixed when it was compiled"),
    ],
)
def test_options_without_meaning_are_refused(
    open_toy: Open, options: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        open_toy(options=options)


def test_a_cache_that_a_failed_run_lost_is_not_used_again(
    open_toy: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = open_toy()
    executor.step(toy.batch([[1]], [0]))
    run = pjrt.Program.run

    def fail(*arguments: Any) -> Any:
        run(*arguments)
        raise RuntimeError("the link is down")

    with monkeypatch.context() as patched:
        patched.setattr(pjrt.Program, "run", fail)
        with pytest.raises(RuntimeError, match="the link is down"):
            executor.step(toy.batch([[1]], [0]))
    with pytest.raises(RuntimeError, match=r"an earlier step failed .* KV cache is lost"):
        executor.step(toy.batch([[1]], [0]))


def test_batches_outside_of_the_limits_are_refused(open_toy: Open) -> None:
    executor = open_toy(options={"max_step_tokens": 4})
    assert executor.limits.max_step_tokens == 4
    with pytest.raises(ValueError, match="5 tokens in a step, the limit is 4"):
        executor.step(toy.batch([[1, 2, 3, 4, 5]], [0]))
    with pytest.raises(ValueError, match=r"a token outside of 0 … 9"):
        executor.step(toy.batch([[10]], [0]))
    with pytest.raises(ValueError, match=r"a page outside of 0 … 7"):
        executor.step(toy.batch([[1]], [2]))
