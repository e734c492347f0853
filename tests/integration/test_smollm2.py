"""The built-in model, compiled in float32 and as its file stores it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.compiler.evaluate import cut_windows, english_text, evaluate_perplexity
from ingot.ir import QuantTensor
from ingot.models import fetch_builtin, open_checkpoint
from ingot.runtime import LLM, SamplingParams
from ingot.runtime.artifact import Artifact
from ingot.runtime.cpu_level import supported_levels
from ingot.targets import Settings

QUESTIONS = (
    "What is the capital of Germany?",
    "Who wrote Romeo and Juliet?",
    "What is the chemical symbol for water?",
    "How many days are there in a week?",
    "What is the opposite of hot?",
    "What language is spoken in Brazil?",
    "Who was the first president of the United States?",
    "What do bees make?",
    "What is the freezing point of water in Celsius?",
    "Translate 'hello' into Spanish.",
)
GREEDY = SamplingParams(max_tokens=24, temperature=0.0)


def chat(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("smollm2")
    levels = supported_levels()[-1:]
    asked = {
        "float32": Settings(linear="none", dtype="float32", kv_dtype="float32", levels=levels),
        "stored": Settings(levels=levels),
    }
    for name, settings in asked.items():
        compile_model(fetch_builtin(), folder / name, CompileOptions(settings=settings))
    return {name: folder / name for name in asked}


@pytest.fixture(scope="module")
def oracle() -> Any:
    """The dequantised weights in transformers."""
    checkpoint = open_checkpoint(fetch_builtin())
    model = AutoModelForCausalLM.from_config(checkpoint.config).to(torch.float32)
    state = {}
    for name in model.state_dict():
        value = checkpoint.weights[name]
        state[name] = value.dequantize() if isinstance(value, QuantTensor) else value
    model.load_state_dict(state)
    return model.eval()


def test_float32_agrees_with_transformers(
    artifacts: dict[str, Path], oracle: Any, relative_error: Callable[..., float]
) -> None:
    with LLM(artifacts["float32"], kv_pages=64) as llm:
        tokens = llm.text.encode_chat(chat("What is the capital of France?"))
        with torch.inference_mode():
            expected = oracle(torch.tensor([tokens])).logits[0].numpy()
        assert relative_error(llm.logits(tokens), expected) < 1e-4
        [completion] = llm.chat(chat("What is the capital of France?"), GREEDY)
    assert completion.text == "The capital of France is Paris."


def test_as_stored_says_the_same_with_nothing_lost_in_the_weights(
    artifacts: dict[str, Path],
) -> None:
    encodings = Artifact.open(artifacts["stored"]).manifest["encodings"]
    assert encodings["kept_without_loss"]
    assert encodings["stored"] == {"int4-g32-min": 210, "int8-g32": 1}
    texts = []
    for artifact in artifacts.values():
        with LLM(artifact, kv_pages=256) as llm:
            answers = llm.chat([chat(question) for question in QUESTIONS], GREEDY)
            texts.append([answer.text for answer in answers])
    assert texts[0] == texts[1]


def test_perplexity_as_stored(artifacts: dict[str, Path]) -> None:
    results = {}
    for name, artifact in artifacts.items():
        with LLM(artifact, kv_pages=64) as llm:
            tokens = llm.text.require_tokenizer().encode(english_text()[:12_000])
            results[name] = evaluate_perplexity(llm, cut_windows(tokens, 4, 512)).perplexity
    assert np.isfinite(list(results.values())).all()
    assert results["stored"] <= 1.007 * results["float32"]
