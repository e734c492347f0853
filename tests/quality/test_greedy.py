"""As `make serve` compiles it, the built-in model says what transformers says in float32.

The linear layers round their inputs to 8 bits in groups of 32, which moves logits by some tenths:
near ties may fall either way.  Prompts are therefore chosen by transformers' margins alone: at
every one of the first `TOKENS` tokens, the best candidate leads the second by `SMALLEST_MARGIN` at
least.  The one exception is the prompt that the README shows.
"""

from collections.abc import Callable
from typing import Any

import pytest

from ingot.runtime import LLM, SamplingParams

TOKENS = 12
SMALLEST_MARGIN = 0.35

COMPLETIONS = (
    "The opposite of hot is",
    "2, 4, 6, 8, 10,",
    "a b c d e f g",
)
QUESTIONS = (
    "What is the capital of Germany?",
    "How many days are in a week?",
    "Name the first month of the year.",
    "Who was the first president of the United States?",
    "What is gravity?",
    "What is the freezing point of water?",
)
SHOWN = "What is the capital of France?"


@pytest.mark.parametrize("prompt", [*COMPLETIONS, *QUESTIONS, SHOWN])
def test_greedy_text(opened: Callable[[str], LLM], oracle: Any, prompt: str) -> None:
    llm = opened("stored")
    tokenizer = llm.text.require_tokenizer()
    if prompt in COMPLETIONS:
        tokens = llm.text.encode(prompt)
    else:
        tokens = llm.text.encode_chat([{"role": "user", "content": prompt}])
    (end,) = llm.text.defaults.end_ids
    expected, margins = oracle.greedy(tokens, TOKENS, end)
    if prompt != SHOWN:
        assert min(margins) >= SMALLEST_MARGIN, (
            f"no test of quality: transformers' own margins are {margins}"
        )
    [completion] = llm.generate([tokens], SamplingParams(max_tokens=TOKENS, temperature=0.0))
    assert completion.token_ids == expected, (
        f"{tokenizer.decode(completion.token_ids)!r}, by transformers "
        f"{tokenizer.decode(expected)!r} with the margins {[round(each, 2) for each in margins]}"
    )


def test_the_answer_that_the_readme_shows(opened: Callable[[str], LLM]) -> None:
    message = {"role": "user", "content": SHOWN}
    params = SamplingParams(max_tokens=TOKENS, temperature=0.0)
    [completion] = opened("stored").chat([message], params)
    assert completion.text == "The capital of France is Paris."
