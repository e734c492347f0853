"""A model with experts, rounded, agrees with the reference, and no batch changes a bit of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import MixtralConfig

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.compiler.reference import ReferenceExecutor
from ingot.ir import Module
from ingot.models import open_checkpoint, write_random_checkpoint
from ingot.runtime import LLM, SamplingParams
from ingot.runtime.artifact import Artifact
from ingot.runtime.cpu_level import supported_levels
from ingot.runtime.engine import EngineOptions
from ingot.targets import Settings

POSITIONS = 256
SETTINGS = Settings(linear="int4-g32", overrides=("*layers.1*down_proj=int8",), kv_dtype="float32")


def mixtral() -> MixtralConfig:
    return MixtralConfig(
        vocab_size=131,
        hidden_size=64,
        intermediate_size=72,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=6,
        num_experts_per_tok=3,
        max_position_embeddings=POSITIONS,
        sliding_window=None,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("experts"), mixtral())


@pytest.fixture(scope="module")
def artifact(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("artifacts") / "mixtral.ingot"
    settings = replace(SETTINGS, levels=supported_levels()[-1:])
    compile_model(folder, target, CompileOptions(settings=settings))
    return target


def prompts(lengths: tuple[int, ...]) -> list[list[int]]:
    random = np.random.default_rng(7)
    return [[int(t) for t in random.integers(0, 131, length)] for length in lengths]


def reference(folder: Path, artifact: Path) -> LLM:
    executor = ReferenceExecutor(
        Module.parse(Artifact.open(artifact).read_bytes("graph.mlirbc")),
        open_checkpoint(folder).weights,
        vocab_size=131,
        max_positions=POSITIONS,
    )
    return LLM.from_executor(executor, options=EngineOptions())


def test_tokens_and_logits_are_those_of_the_reference(folder: Path, artifact: Path) -> None:
    params = SamplingParams(max_tokens=6, temperature=0.0, ignore_eos=True)
    batch = prompts((40, 3, 1))
    with reference(folder, artifact) as expected, LLM(artifact, 2) as found:
        for theirs, ours in zip(expected.logits(batch), found.logits(batch), strict=True):
            assert np.abs(theirs - ours).max() <= 2e-4 * np.abs(theirs).max()
        pairs = zip(expected.generate(batch, params), found.generate(batch, params), strict=True)
        for theirs, ours in pairs:
            assert theirs.token_ids == ours.token_ids


def test_a_sequence_has_the_same_bits_alone_in_company_and_in_chunks(artifact: Path) -> None:
    batch = prompts((45, 1, 17, 100, 7))
    options = EngineOptions(reuse_prefixes=False)
    with LLM(artifact, 1, options=options) as llm:
        alone = [llm.logits(prompt) for prompt in batch]
        chunked = [llm.logits(prompt, chunk=9) for prompt in batch]
    with LLM(artifact, 2, options=options) as llm:
        together = llm.logits(batch)
    for one, chunks, all_ in zip(alone, chunked, together, strict=True):
        np.testing.assert_array_equal(one, chunks)
        np.testing.assert_array_equal(one, all_)
