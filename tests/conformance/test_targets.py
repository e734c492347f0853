"""One suite for every target: the logits of the interpreter, the same greedy tokens.

Several sequences in a step, one of them prefilled in chunks beside others that decode.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from corpus.check import NUM_PAGES, PIPELINE
from corpus.steps import Run, run_schedule
from ingot.compiler.driver import CompileOptions, compile_front
from ingot.compiler.reference import ReferenceExecutor
from ingot.compiler.stages import Front
from ingot.ir import Module
from ingot.models import Checkpoint, import_model, open_checkpoint
from ingot.models.random_checkpoint import write_random_checkpoint
from ingot.passes import parse_pipeline
from ingot.runtime.artifact import Artifact
from ingot.runtime.executors import open_executor

from .models import MODELS, POSITIONS
from .places import PLACES

TOLERANCE = 1e-5


class Known(NamedTuple):
    """A random checkpoint, imported once, and what the interpreter makes of it undivided."""

    checkpoint: Checkpoint
    imported: bytes
    vocabulary: int
    runs: list[Run]

    def front(self) -> Front:
        """Return the model as a compile begins with it."""
        return Front(self.checkpoint, Module.parse(self.imported))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Known]:
    """Return a function from the name of a model to its checkpoint and right logits."""

    @cache
    def make(name: str) -> Known:
        config = MODELS[name]()
        folder = tmp_path_factory.mktemp("conformance") / name
        write_random_checkpoint(folder, config)
        checkpoint = open_checkpoint(folder)
        module = import_model(checkpoint)
        imported = module.bytecode()
        parse_pipeline(PIPELINE).run(module)
        executor = ReferenceExecutor(
            module,
            checkpoint.weights,
            vocab_size=config.vocab_size,
            max_positions=POSITIONS,
            num_pages=NUM_PAGES,
        )
        runs = run_schedule(executor, config.vocab_size)
        return Known(checkpoint, imported, config.vocab_size, runs)

    return make


CASES = [
    pytest.param(model, place, id=f"{model}-{place}")
    for model in MODELS
    for place in PLACES
    if model == "mixtral" or not PLACES[place].experts
]


@pytest.mark.parametrize(("model", "place"), CASES)
def test_logits_and_tokens_are_those_of_the_interpreter(
    model: str, place: str, known: Callable[[str], Known], tmp_path: Path
) -> None:
    expected = known(model)
    target, settings = PLACES[place].target, PLACES[place].settings
    artifact = tmp_path / "model.ingot"
    compile_front(expected.front(), artifact, CompileOptions(target=target, settings=settings))
    executor = open_executor(Artifact.open(artifact))
    try:
        runs = run_schedule(executor, expected.vocabulary)
    finally:
        executor.close()
    for found, right in zip(runs, expected.runs, strict=True):
        assert found.tokens == right.tokens
        assert largest_relative_error(logits_of(found), logits_of(right)) < TOLERANCE


def logits_of(run: Run) -> NDArray[np.float32]:
    """Return `[positions, vocabulary]`."""
    return np.stack([run.logits[position] for position in range(run.done)])


def largest_relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference over the largest expected number."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
