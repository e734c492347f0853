"""Whichever kernels serve which numbers of rows, the logits are bitwise the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ingot.runtime.artifact import Artifact
from ingot.runtime.executor import StepBatch
from ingot.runtime.native_executor import NativeExecutor
from ingot.runtime.plan import PlanFile
from ingot.runtime.tuning import Choice, Choices
from ingot.runtime.tuning.choice import Family
from ingot.targets import Settings

SIZES = (1, 2, 3, 7, 12, 16, 33)
SETTINGS = {
    "integers": Settings(
        linear="int8",
        embedding="int4-g32",
        overrides=(
            "model.layers.0.*=int4-g32",
            "model.layers.1.*=int4-g32-min",
            "model.layers.2.self_attn.*=int8-g32",
        ),
    ),
    "floats": Settings(linear="none", dtype="bfloat16"),
}


@pytest.fixture(params=SETTINGS)
def artifact(request: pytest.FixtureRequest, compiled: Callable[[str, Settings], Any]) -> Artifact:
    return Artifact.open(compiled("qwen2", SETTINGS[request.param]).artifact)


def families(artifact: Artifact) -> dict[str, Family]:
    executor = NativeExecutor(artifact, kv_pages=16)
    plan = PlanFile.parse(artifact.read_json("targets/cpu/plan.json"), "")
    found = plan.families(executor._kernels.symbols)
    executor.close()
    return found


def with_kernel(family: Family, number: int) -> Choice:
    """Return the choice in which one kernel serves all the numbers of rows that it can."""
    listed = [(rows, symbol) for rows, symbols in family.variants for symbol in symbols]
    most, symbol = listed[number % len(listed)]
    if most is None:
        return ((None, symbol),)
    later = tuple(one for one in family.default if one[0] is None or one[0] > most)
    return ((most, symbol), *later)


def logits(artifact: Artifact, choices: Choices) -> list[NDArray[np.float32]]:
    executor = NativeExecutor(artifact, threads=2, kv_pages=64, choices=choices)
    generator = np.random.default_rng(0)
    found = []
    for size in SIZES:
        found.append(executor.step(step_of(size, generator)).copy())
    executor.close()
    return found


def step_of(size: int, generator: np.random.Generator) -> StepBatch:
    """Return the first step of so many sequences of one token."""
    numbers = np.arange(size + 1, dtype=np.int32)
    return StepBatch(
        token_ids=generator.integers(0, 200, size).astype(np.int32),
        positions=np.zeros(size, np.int32),
        starts=numbers,
        block_tables=numbers[:-1, None],
        row_ids=numbers[:-1],
    )


def test_every_kernel_for_every_number_of_rows_that_it_serves(artifact: Artifact) -> None:
    known = families(artifact)
    expected = logits(artifact, {})
    turns = max(len(family.symbols) for family in known.values())
    assert turns >= 3
    for number in range(turns):
        choices = {name: with_kernel(family, number) for name, family in known.items()}
        for found, default in zip(logits(artifact, choices), expected, strict=True):
            np.testing.assert_array_equal(found, default, str(choices))


def test_the_first_load_measures_and_the_next_reads(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGOT_TUNING", "on")
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path))
    first = NativeExecutor(artifact, threads=2, kv_pages=16)
    first.close()
    [kept] = (tmp_path / "tuning").iterdir()
    written = kept.stat().st_mtime_ns
    assert first.choices.keys() == families(artifact).keys()
    again = NativeExecutor(artifact, threads=2, kv_pages=16)
    again.close()
    assert again.choices == first.choices and kept.stat().st_mtime_ns == written
    for found, default in zip(logits(artifact, first.choices), logits(artifact, {}), strict=True):
        np.testing.assert_array_equal(found, default)
