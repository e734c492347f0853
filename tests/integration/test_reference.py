"""The reference executor, under the engine, agrees with transformers on every architecture."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ingot.compiler.reference import ReferenceExecutor
from ingot.models import import_model, open_checkpoint
from ingot.passes import parse_pipeline
from ingot.runtime import LLM, SamplingParams
from ingot.runtime.engine import EngineOptions

PIPELINE = "raise,canonicalize,select-rows"


def reference_llm(model: Any, pipeline: str = PIPELINE) -> LLM:
    checkpoint = open_checkpoint(model.folder)
    module = import_model(checkpoint)
    parse_pipeline(pipeline).run(module)
    executor = ReferenceExecutor(
        module,
        checkpoint.weights,
        vocab_size=model.config.vocab_size,
        max_positions=512,
        num_pages=40,
        max_step_tokens=48,
    )
    return LLM.from_executor(executor, options=EngineOptions())


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "mistral", "gpt2"])
def test_logits_agree_with_transformers_through_the_engine(
    small_model: Callable[[str], Any], name: str
) -> None:
    model = small_model(name)
    prompts = [model.prompt(1), model.prompt(7), model.prompt(64)]
    with reference_llm(model) as llm:
        for prompt, found in zip(prompts, llm.logits(prompts, chunk=20), strict=True):
            np.testing.assert_allclose(found, model.logits(prompt), rtol=0, atol=2e-5)


def test_a_preempted_and_cached_prefix_changes_nothing(small_model: Callable[[str], Any]) -> None:
    model = small_model("llama")
    prompt = model.prompt(40)
    params = SamplingParams(max_tokens=6, temperature=0.0)
    with reference_llm(model) as llm:
        [first] = llm.generate([prompt], params)
        [again] = llm.generate([prompt], params)
    assert again.num_cached_tokens >= 32
    assert again.token_ids == first.token_ids


@pytest.mark.parametrize("name, mesh", [("llama", "dp2"), ("mistral", "pp2xdp2xcp2")])
def test_a_mesh_answers_as_one_device_does(
    small_model: Callable[[str], Any], name: str, mesh: str
) -> None:
    model = small_model(name)
    prompts = [model.prompt(count) for count in (40, 3, 18, 25, 40)]
    params = SamplingParams(max_tokens=4, temperature=0.0)
    divided = f"{PIPELINE},assign-sharding{{mesh={mesh}}},propagate-sharding,partition"
    with reference_llm(model) as one, reference_llm(model, divided) as many:
        expected = [answer.token_ids for answer in one.generate(prompts, params)]
        assert [answer.token_ids for answer in many.generate(prompts, params)] == expected
        # What a first answer left in the pages of a group is found again there.
        [again] = many.generate(prompts[:1], params)
    assert again.num_cached_tokens >= 32 and again.token_ids == expected[0]
