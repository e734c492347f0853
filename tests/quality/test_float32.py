"""Unrounded, the built-in model computes what transformers and the interpreter compute."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ingot.compiler.evaluate import evaluate_perplexity
from ingot.ir import Batch, Interpreter, Module
from ingot.models import Checkpoint
from ingot.runtime import LLM
from ingot.runtime.artifact import Artifact

LARGEST_ERROR = 1e-4
PROMPTS = (
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "Naïve café: 1, 2, 3 …",
)


def relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference over the largest expected logit."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_logits_are_those_of_transformers(
    opened: Callable[[str], LLM], oracle: Any, windows: list[list[int]]
) -> None:
    llm = opened("float32")
    chat = llm.text.encode_chat([{"role": "user", "content": "What is the capital of France?"}])
    prompts = [*map(llm.text.encode, PROMPTS), chat, windows[0][:300]]
    # Together: sequences of one batch must not see each other either.
    for prompt, found in zip(prompts, llm.logits(prompts), strict=True):
        error = relative_error(found, oracle.logits(prompt))
        assert error <= LARGEST_ERROR, (
            f"logits of a prompt of {len(prompt)} tokens are off by {error:.1e} of the largest: "
            f"{llm.text.require_tokenizer().decode(prompt[:40])!r}"
        )


def test_perplexity_is_that_of_transformers(
    opened: Callable[[str], LLM], oracle: Any, windows: list[list[int]]
) -> None:
    found = evaluate_perplexity(opened("float32"), windows[:2]).perplexity
    expected = evaluate_perplexity(oracle, windows[:2]).perplexity
    assert abs(found - expected) <= 1e-3, f"{found:.5f} by Ingot, {expected:.5f} by transformers"


def test_the_interpreter_and_the_kernels_agree(
    artifact: Callable[[str], Path], opened: Callable[[str], LLM], checkpoint: Checkpoint
) -> None:
    """The graph inside the artifact, run by its reference semantics, gives the kernels' logits."""
    graph = Module.parse(Artifact.open(artifact("float32")).read_bytes("graph.mlirbc"))
    llm = opened("float32")
    prompt = llm.text.encode(PROMPTS[0])
    tokens, rows = torch.tensor(prompt), list(range(len(prompt)))
    batch = Batch(starts=[0, len(prompt)], rows=rows)
    expected = Interpreter(graph, checkpoint.weights).step(tokens, torch.tensor(rows), batch)
    error = relative_error(llm.logits(prompt), expected.numpy())
    assert error <= LARGEST_ERROR, f"off by {error:.1e} of the largest logit"
