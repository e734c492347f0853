"""The protocol of perplexity: the text, its windows, and the arithmetic."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ingot.compiler.evaluate import (
    cut_windows,
    english_text,
    evaluate_perplexity,
    negative_log_likelihood,
)
from ingot.errors import UsageError


class Uniform:
    """A model that thinks all tokens equally likely."""

    def logits(self, token_ids: Sequence[int], chunk: int | None = None) -> "np.ndarray[Any, Any]":
        return np.full((len(token_ids), 50), 3.0, np.float32)


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary() -> None:
    evaluation = evaluate_perplexity(Uniform(), [[1, 2, 3], [4, 5, 6, 7]])
    assert evaluation.perplexity == pytest.approx(50)
    assert (evaluation.predictions, evaluation.windows) == (5, 2)


def test_each_position_predicts_the_token_after_it() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1, 1, 1]], np.float32))
    assert negative_log_likelihood(logits, [0, 2, 1]) == pytest.approx(
        -math.log(0.25) - math.log(0.8), abs=1e-6
    )


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1e4, 0.0], [0.0, 0.0]], np.float32)
    assert negative_log_likelihood(logits, [0, 0]) == pytest.approx(0.0)


def test_windows_follow_each_other_and_need_enough_text() -> None:
    assert cut_windows(range(10), 3, 3) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    with pytest.raises(UsageError, match="fewer windows"):
        cut_windows(range(8), 3, 3)


def test_the_text_is_long_enough_for_the_protocol() -> None:
    text = english_text()
    assert len(text) > 400_000 and "The assert statement" in text.replace('"', "")
