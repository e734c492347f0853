"""Negative log-likelihood of windows from logits, for scripts that run beside a peer's runtime."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 32
Logits = Callable[[NDArray[np.int64]], NDArray[np.float32]]


def print_score(file: Path, window_tokens: int, logits: Logits) -> None:
    """Score the windows in `file` (int32), each alone, and print loss and predictions as JSON.

    `logits` maps tokens `[T]` to logits `[T, vocab]`.
    """
    windows = np.fromfile(file, dtype=np.int32).reshape(-1, window_tokens).astype(np.int64)
    loss = sum(_loss(logits(window), window) for window in windows)
    print(json.dumps({"loss": loss, "predictions": len(windows) * (window_tokens - 1)}))


def _loss(logits: NDArray[np.float32], tokens: NDArray[np.int64]) -> float:
    total, following = 0.0, tokens[1:]
    for start in range(0, len(following), BLOCK_ROWS):
        chosen = following[start : start + BLOCK_ROWS]
        rows = logits[start : start + len(chosen)].astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        picked = rows[np.arange(len(rows)), chosen]
        total += float((np.log(np.exp(rows).sum(axis=1)) - picked).sum())
    return total
