"""Artifacts of the target against transformers, and through the engine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.errors import UnsupportedError
from ingot.models import write_random_checkpoint
from ingot.runtime import LLM, SamplingParams
from ingot.targets import Settings, find_target

LLAMA = LlamaConfig(
    vocab_size=61,
    hidden_size=40,
    intermediate_size=72,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    attention_bias=True,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("llama") / "model", LLAMA)


@pytest.fixture(scope="module")
def artifact(folder: Path) -> Path:
    return compile_model(
        folder, folder.parent / "m.ingot", CompileOptions("example-numpy")
    ).artifact


@pytest.fixture
def llm(artifact: Path) -> Iterator[LLM]:
    with LLM(artifact, max_step_tokens=24) as model:
        yield model


def _prompt(length: int) -> list[int]:
    return [int(t) for t in np.random.default_rng(length).integers(0, LLAMA.vocab_size, length)]


def test_the_target_is_found() -> None:
    assert [stage.name for stage in find_target("example-numpy").stages] == ["passes", "emit"]


def test_the_program_can_be_read(artifact: Path) -> None:
    text = (artifact / "targets" / "example-numpy" / "step.py").read_text()
    assert "def step(w, tokens, positions, cache):" in text and "= attention(" in text


def test_logits_are_those_of_transformers(folder: Path, llm: LLM) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompts = [_prompt(length) for length in (1, 7, 30)]
    for prompt, found in zip(prompts, llm.logits(prompts), strict=True):
        with torch.inference_mode():
            expected = model(torch.tensor([prompt])).logits[0].numpy()
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_text_comes_through_the_engine(llm: LLM) -> None:
    prompts = [_prompt(5), _prompt(9)]
    params = SamplingParams(max_tokens=6, temperature=0.0)
    together = [completion.token_ids for completion in llm.generate(prompts, params)]
    alone = [llm.generate([prompt], params)[0].token_ids for prompt in prompts]
    assert together == alone and all(len(tokens) == 6 for tokens in together)


def test_encoded_weights_are_decoded(folder: Path, tmp_path: Path) -> None:
    options = CompileOptions("example-numpy", Settings(linear="int8"))
    report = compile_model(folder, tmp_path / "int8.ingot", options)
    assert {kind.encoding for kind in report.kinds} >= {"int8"}
    with LLM(report.artifact) as model:
        assert np.isfinite(model.logits(_prompt(4))).all()


def test_what_has_no_row_is_refused_by_name(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=61, n_embd=20, n_layer=1, n_head=2, n_positions=32)
    folder = write_random_checkpoint(tmp_path / "gpt2", config)
    with pytest.raises(UnsupportedError, match=r"knows nothing of lm\.layer_norm"):
        compile_model(folder, tmp_path / "out.ingot", CompileOptions("example-numpy"))
