"""What rounding costs the built-in model: at most 0.7 % of perplexity, where 8 bits are kept.

With 4.5 bits for every weight it is at most what llama.cpp's Q4_0 loses, which has as many.

Float32 is measured in the same run, since the text differs a little from one Python to another.
"""

from collections.abc import Callable
from functools import cache

import pytest

from ingot.compiler.evaluate import evaluate_perplexity
from ingot.runtime import LLM

LARGEST_LOSS = 0.007
Q4_0_LOSS = 0.338
"""Of llama.cpp, embedding and head included, as `benchmarks/cpu_quality.py` measures it."""

Perplexity = Callable[[str], float]


@pytest.fixture(scope="module")
def perplexity(opened: Callable[[str], LLM], windows: list[list[int]]) -> Perplexity:
    """Return a function from the name of an artifact to its perplexity over all windows."""

    @cache
    def measure(name: str) -> float:
        return evaluate_perplexity(opened(name), windows).perplexity

    return measure


@pytest.mark.parametrize(
    ("name", "largest"), [("default", LARGEST_LOSS), ("int8", LARGEST_LOSS), ("all4", Q4_0_LOSS)]
)
def test_the_loss_is_small(perplexity: Perplexity, name: str, largest: float) -> None:
    exact, rounded = perplexity("float32"), perplexity(name)
    loss = rounded / exact - 1
    print(f"perplexity {rounded:.4f}, {loss:+.2%} of {exact:.4f} in float32")
    assert loss <= largest, f"{rounded:.4f} is {loss:+.2%} of {exact:.4f} in float32"
