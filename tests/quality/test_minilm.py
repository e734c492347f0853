"""The built-in sentence encoder against transformers: the same vectors, or nearly."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.models import fetch_builtin
from ingot.runtime import LLM
from ingot.runtime.cpu_level import supported_levels
from ingot.targets import Settings

SENTENCES = [
    "The capital of France is Paris.",
    "Paris is the capital city of France.",
    "How do I bake sourdough bread?",
    "A cat sat on the mat.",
    "The quick brown fox jumps over the lazy dog.",
    "Machine learning models map text to vectors.",
    "Wie spät ist es?",
    "def f(x): return x + 1",
    "Stock markets fell sharply on Monday after the report.",
    "The patient was given antibiotics for pneumonia.",
    "ok",
    "In physics, energy is conserved in isolated systems. " * 30,
]
LEVELS = supported_levels()[-1:]
FLOAT32 = Settings("none", "none", dtype="float32", kv_dtype="float32", levels=LEVELS)
Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def folder() -> Path:
    return fetch_builtin(word="builtin:minilm")


@pytest.fixture(scope="module")
def expected(folder: Path) -> Rows:
    """The embeddings as sentence-transformers computes them: the mean, of length one."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()

    def embed(sentence: str) -> torch.Tensor:
        inputs = tokenizer(sentence, return_tensors="pt", truncation=True, max_length=256)
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state[0]
        return torch.nn.functional.normalize(hidden.mean(0), dim=-1)

    return torch.stack([embed(sentence) for sentence in SENTENCES]).numpy()


@pytest.fixture
def embeddings(folder: Path, tmp_path: Path) -> Callable[[Settings], Rows]:
    def embed(settings: Settings) -> Rows:
        compile_model(folder, tmp_path / "m.ingot", CompileOptions(settings=settings))
        with LLM(tmp_path / "m.ingot") as model:
            assert model.pooled.max_tokens == 256
            return model.embed(SENTENCES)

    return embed


def cosines(found: Rows, expected: Rows) -> Rows:
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    return np.einsum("sw,sw->s", found, expected)


def test_float32(embeddings: Callable[[Settings], Rows], expected: Rows) -> None:
    found = embeddings(FLOAT32)
    assert np.abs(found - expected).max() < 1e-5
    assert cosines(found, expected).min() > 0.99999


def test_rounded_by_default(embeddings: Callable[[Settings], Rows], expected: Rows) -> None:
    found = embeddings(Settings(levels=LEVELS))
    assert cosines(found, expected).min() > 0.997
    order = np.argsort(-(expected @ expected.T), axis=1)[:, :2]
    np.testing.assert_array_equal(np.argsort(-(found @ found.T), axis=1)[:, :2], order)
