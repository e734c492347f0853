"""The built-in model: its oracle in transformers, and the artifacts that are compared with it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, PreTrainedModel

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.compiler.evaluate import cut_windows, english_text
from ingot.ir import QuantTensor
from ingot.models import Checkpoint, fetch_builtin, open_checkpoint
from ingot.runtime import LLM
from ingot.runtime.cpu_level import supported_levels
from ingot.targets import Settings

# `default` is what `ingot compile builtin` makes, `stored` is what `make serve` compiles.
SETTINGS = {
    "float32": Settings(linear="none", embedding="none", dtype="float32", kv_dtype="float32"),
    "default": Settings(),
    "stored": Settings(kv_dtype="float32"),
    "int8": Settings(linear="int8", embedding="int8", kv_dtype="float32"),
    "all4": Settings(linear="int4-g32-sym", embedding="same", kv_dtype="float32"),
}
KV_PAGES = 128


@dataclass(frozen=True)
class Oracle:
    """The model in transformers: the checkpoint's weights dequantised, all in float32."""

    model: PreTrainedModel

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        """Return logits `[tokens, vocab]`."""
        with torch.inference_mode():
            logits: NDArray[np.float32] = self.model(torch.tensor([tokens])).logits[0].numpy()
        return logits

    def greedy(self, prompt: list[int], count: int, end: int) -> tuple[list[int], list[float]]:
        """Return at most `count` tokens, up to and with `end`, and the margin of each.

        The margin is what the token's logit has over that of the second candidate.
        """
        chosen: list[int] = []
        margins: list[float] = []
        cache, new = None, prompt
        with torch.inference_mode():
            while len(chosen) < count and chosen[-1:] != [end]:
                output = self.model(torch.tensor([new]), past_key_values=cache, use_cache=True)
                cache = output.past_key_values
                (first, second), (token, _) = (part.tolist() for part in _top(output.logits))
                chosen.append(token)
                margins.append(first - second)
                new = [token]
        return chosen, margins


def _top(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values, indices = logits[0, -1].topk(2)
    return values, indices


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    """The built-in model as it is stored."""
    return open_checkpoint(fetch_builtin())


@pytest.fixture(scope="session")
def oracle(checkpoint: Checkpoint) -> Oracle:
    """Built from our own reading of the file, which is equal to that of transformers bit by bit."""
    model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        checkpoint.config, dtype=torch.float32
    )
    owned = [name for name in model.state_dict() if name not in checkpoint.tied]
    values = {name: checkpoint.weights[name] for name in owned}
    missing, unexpected = model.load_state_dict(
        {
            name: value.dequantize() if isinstance(value, QuantTensor) else value
            for name, value in values.items()
        },
        strict=False,
    )
    assert set(missing) <= set(checkpoint.tied) and not unexpected
    return Oracle(model.eval())


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that compiles the model for this machine under some settings, once."""

    @cache
    def compile_once(name: str) -> Path:
        path = tmp_path_factory.mktemp("quality") / f"{name}.ingot"
        settings = replace(SETTINGS[name], levels=supported_levels()[-1:])
        compile_model(fetch_builtin(), path, CompileOptions(settings=settings))
        return path

    return compile_once


@pytest.fixture(scope="session")
def opened(artifact: Callable[[str], Path]) -> Iterator[Callable[[str], LLM]]:
    """Return a function that opens the artifact of some settings, once."""
    with ExitStack() as stack:

        @cache
        def open_once(name: str) -> LLM:
            return stack.enter_context(LLM(artifact(name), kv_pages=KV_PAGES))

        yield open_once


@pytest.fixture(scope="session")
def windows(opened: Callable[[str], LLM]) -> list[list[int]]:
    """The windows of tokens that perplexity is measured on."""
    tokenizer = opened("float32").text.require_tokenizer()
    return cut_windows(tokenizer.encode(english_text(), add_special_tokens=False))
