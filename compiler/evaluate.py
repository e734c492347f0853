"""Perplexity of an artifact on English text that every Python installation carries.

The text is that of `pydoc_data.topics`: its values joined by blank lines, in the order of their
keys.  It is tokenised without special tokens and cut into windows, each of which is scored alone:
a window of n tokens gives n - 1 predictions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ingot.errors import UsageError

WINDOWS = 16
WINDOW_TOKENS = 1024
BLOCK_ROWS = 32
"""Rows of logits that are widened at a time: whole windows would be hundreds of megabytes."""


class ScoringModel(Protocol):
    """What is needed of `ingot.LLM`."""

    def logits(self, token_ids: Sequence[int], chunk: int | None = None) -> Any:
        """Return float32 logits `[tokens, vocab]` at every position."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """exp of the mean negative log-likelihood over all predictions."""

    perplexity: float
    predictions: int
    windows: int


def english_text() -> str:
    """Return the text: the same for every installation of one Python version."""
    return "\n\n".join(topics[key] for key in sorted(topics))


def cut_windows(
    tokens: Sequence[int], windows: int = WINDOWS, window_tokens: int = WINDOW_TOKENS
) -> list[list[int]]:
    """Return the first `windows` windows of tokens; raises `UsageError` where there are too few."""
    if len(tokens) < windows * window_tokens:
        raise UsageError(
            f"the text has {len(tokens)} tokens, {windows} windows of {window_tokens} need more",
            hint="Ask for fewer windows.",
        )
    return [list(tokens[n * window_tokens : (n + 1) * window_tokens]) for n in range(windows)]


def evaluate_perplexity(
    model: ScoringModel,
    windows: Sequence[Sequence[int]],
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """Score each window alone and return the perplexity over all of them."""
    total, count = 0.0, 0
    for number, window in enumerate(windows):
        progress(number)
        total += negative_log_likelihood(model.logits(window), window)
        count += len(window) - 1
    return Evaluation(math.exp(total / count), count, len(windows))


def negative_log_likelihood(logits: NDArray[np.float32], tokens: Sequence[int]) -> float:
    """Return the sum over positions of -log p(next token), in float64."""
    following, total = np.asarray(tokens[1:]), 0.0
    for start in range(0, len(following), BLOCK_ROWS):
        chosen = following[start : start + BLOCK_ROWS]
        rows = logits[start : start + len(chosen)].astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        picked = rows[np.arange(len(rows)), chosen]
        total += float((np.log(np.exp(rows).sum(axis=1)) - picked).sum())
    return total
