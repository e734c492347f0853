"""Compiled in float32, every architecture computes what transformers computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ingot.runtime import SamplingParams
from ingot.targets import Settings

ARCHITECTURES = ("llama", "qwen2", "qwen3", "mistral", "gpt2")

Compile = Callable[[str, Settings], Any]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_and_greedy_tokens(
    compiled: Compile, float32: Settings, relative_error: Callable[..., float], name: str
) -> None:
    made = compiled(name, float32)
    model = made.model
    with made.open() as llm:
        for length in (1, 7, 64, 300):
            prompt = model.prompt(length)
            assert relative_error(llm.logits(prompt), model.logits(prompt)) < 1e-4
        prompt = model.prompt(20)
        params = SamplingParams(max_tokens=64, temperature=0.0, ignore_eos=True)
        [completion] = llm.generate([prompt], params)
    assert completion.token_ids == greedy(model, prompt, 64)


def greedy(model: Any, prompt: list[int], count: int) -> list[int]:
    """Return the most likely tokens by transformers, one after the other."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(torch.from_numpy(model.logits(tokens)[-1]).argmax()))
    return tokens[len(prompt) :]
