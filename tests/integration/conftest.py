"""Small models of the five architectures, and their logits by transformers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.models.random_checkpoint import write_random_checkpoint
from ingot.runtime import LLM
from ingot.runtime.cpu_level import supported_levels
from ingot.runtime.engine import EngineOptions
from ingot.targets import Settings

POSITIONS = 512

# Odd sizes, so that every padding is exercised; MHA and GQA, tied and untied tables, biases.
CONFIGS: Mapping[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(
        vocab_size=131,
        hidden_size=60,
        intermediate_size=90,
        num_hidden_layers=2,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=POSITIONS,
        attention_bias=True,
        mlp_bias=True,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    ),
    "qwen2": lambda: Qwen2Config(
        vocab_size=203,
        hidden_size=56,
        intermediate_size=100,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
    ),
    "qwen3": lambda: Qwen3Config(
        vocab_size=170,
        hidden_size=64,
        intermediate_size=130,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=24,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=False,
    ),
    "mistral": lambda: MistralConfig(
        vocab_size=99,
        hidden_size=96,
        intermediate_size=112,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=1,
        max_position_embeddings=POSITIONS,
        sliding_window=40,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=149, n_embd=40, n_layer=2, n_head=5, n_positions=POSITIONS
    ),
}


@dataclass(frozen=True)
class SmallModel:
    """A random checkpoint and the oracle of its logits."""

    name: str
    folder: Path
    config: PretrainedConfig

    @cached_property
    def oracle(self) -> Any:
        """The model in transformers, float32."""
        model = AutoModelForCausalLM.from_pretrained(
            self.folder, dtype=torch.float32, attn_implementation="eager"
        )
        return model.eval()

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Return logits `[tokens, vocab]` by transformers."""
        with torch.inference_mode():
            logits: NDArray[np.float32] = self.oracle(torch.tensor([tokens])).logits[0].numpy()
        return logits

    def prompt(self, length: int, seed: int = 0) -> list[int]:
        """Return random token ids."""
        generator = np.random.default_rng([length, seed])
        return [int(t) for t in generator.integers(0, self.config.vocab_size, length)]


@dataclass(frozen=True)
class Compiled:
    """A small model and its artifact, with the kernels of this machine's level alone."""

    model: SmallModel
    artifact: Path

    def open(self, threads: int = 2, *, reuse_prefixes: bool = True, **options: Any) -> LLM:
        """Return the artifact on the native executor; close it."""
        engine = EngineOptions(reuse_prefixes=reuse_prefixes)
        return LLM(self.artifact, threads, options=engine, **{"kv_pages": 256, **options})


@pytest.fixture(scope="session")
def compiled(
    small_model: Callable[[str], SmallModel], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Settings], Compiled]:
    """Return a function that compiles a small model under some settings, once."""

    @cache
    def compile_once(name: str, settings: Settings) -> Compiled:
        model = small_model(name)
        artifact = tmp_path_factory.mktemp("artifacts") / f"{name}.ingot"
        native = replace(settings, levels=supported_levels()[-1:])
        compile_model(model.folder, artifact, CompileOptions(settings=native))
        return Compiled(model, artifact)

    return compile_once


FLOAT32 = Settings(linear="none", dtype="float32", kv_dtype="float32")


@pytest.fixture(scope="session")
def float32() -> Settings:
    """Return the settings under which nothing is rounded."""
    return FLOAT32


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SmallModel]:
    """Return a function from the name of an architecture to its small model."""

    @cache
    def make(name: str) -> SmallModel:
        config = CONFIGS[name]()
        folder = tmp_path_factory.mktemp("models") / name
        write_random_checkpoint(folder, config)
        return SmallModel(name, folder, config)

    return make


@pytest.fixture(scope="session")
def relative_error() -> Callable[[NDArray[np.float32], NDArray[np.float32]], float]:
    """Return the function that compares logits."""
    return largest_relative_error


def largest_relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference over the largest expected number."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
