"""What rounding costs the built-in model: at most 0.7 % of perplexity.

Float32 is measured in the same run, since the text differs a little from one Python to another.
"""

from collections.abc import Callable
from functools import cache

import pytest

from ingot.compiler.evaluate import evaluate_perplexity
from ingot.runtime import LLM

LARGEST_LOSS = 0.007

Perplexity = Callable[[str], float]


@pytest.fixture(scope="module")
def perplexity(opened: Callable[[str], LLM], windows: list[list[int]]) -> Perplexity:
    """Return a function from the name of an artifact to its perplexity over all windows."""

    @cache
    def measure(name: str) -> float:
        return evaluate_perplexity(opened(name), windows).perplexity

    return measure


@pytest.mark.parametrize("name", ["default", "int8"])
def test_the_loss_is_small(perplexity: Perplexity, name: str) -> None:
    exact, rounded = perplexity("float32"), perplexity(name)
    loss = rounded / exact - 1
    print(f"perplexity {rounded:.4f}, {loss:+.2%} of {exact:.4f} in float32")
    assert loss <= LARGEST_LOSS, f"{rounded:.4f} is {loss:+.2%} of {exact:.4f} in float32"
