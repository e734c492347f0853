"""The engine on models that carry a state: slots, chunks, company, preemption and cancellation.

Random tiny models with convolutions and scans of each kind, with attention and without; the native
executor must give the very same bits alone and in company, the reference the same tokens.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoConfig

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.compiler.reference import ReferenceExecutor
from ingot.ir import Module
from ingot.models import open_checkpoint, write_random_checkpoint
from ingot.runtime.artifact import Artifact
from ingot.runtime.cpu_level import supported_levels
from ingot.runtime.engine import Engine, EngineOptions, FinishReason
from ingot.runtime.engine.native_sampler import NativeSampler
from ingot.runtime.executor import Executor
from ingot.runtime.llm import LLM
from ingot.runtime.native_executor import NativeExecutor
from ingot.runtime.sampling import SamplingParams
from ingot.targets import Settings

from .conftest import Client

VOCAB, POSITIONS = 97, 200
GREEDY = SamplingParams(max_tokens=8, temperature=0, logprobs=1)
COMMON = {
    "vocab_size": VOCAB,
    "max_position_embeddings": POSITIONS,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
ATTENTION = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    **COMMON,
}
MODELS: Mapping[str, Mapping[str, Any]] = {
    "mamba": {
        "hidden_size": 20,
        "state_size": 5,
        "intermediate_size": 40,
        "time_step_rank": 3,
        "num_hidden_layers": 2,
        **COMMON,
    },
    "bamba": {
        "mamba_n_heads": 4,
        "mamba_d_head": 12,
        "mamba_n_groups": 2,
        "mamba_d_state": 7,
        "num_hidden_layers": 2,
        "attn_layer_indices": [1],
        **ATTENTION,
    },
    "qwen3_5_text": {
        "head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 5,
        "linear_value_head_dim": 6,
        "num_hidden_layers": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "partial_rotary_factor": 1.0,
            "mrope_section": [2, 1, 1],
        },
        **ATTENTION,
    },
}
MakeExecutor = Callable[[int, int], Executor]
"""(pages, state slots) → an executor; the same one for the same numbers."""


@pytest.fixture(scope="module", params=MODELS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = AutoConfig.for_model(request.param, **MODELS[request.param])
    return write_random_checkpoint(tmp_path_factory.mktemp("states") / request.param, config)


@pytest.fixture(scope="module")
def artifact(checkpoint: Path) -> Path:
    path = checkpoint.with_suffix(".ingot")
    settings = Settings(
        linear="none", embedding="none", kv_dtype="float32", levels=supported_levels()[-1:]
    )
    compile_model(checkpoint, path, CompileOptions("cpu", settings))
    return path


@pytest.fixture(scope="module")
def native(artifact: Path) -> Iterator[MakeExecutor]:
    opened = Artifact.open(artifact)
    made: list[NativeExecutor] = []

    @cache
    def make(pages: int, slots: int) -> Executor:
        options = {"max_step_tokens": 48, "kv_pages": pages, "state_slots": slots}
        made.append(NativeExecutor(opened, threads=2, **options))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


@pytest.fixture(scope="module")
def reference(checkpoint: Path, artifact: Path) -> MakeExecutor:
    opened = open_checkpoint(checkpoint)
    module = Module.parse(Artifact.open(artifact).read_bytes("graph.mlirbc"))
    return lambda pages, slots: ReferenceExecutor(
        module,
        opened.weights,
        vocab_size=VOCAB,
        max_positions=POSITIONS,
        num_pages=pages,
        max_step_tokens=48,
        state_slots=slots,
    )


@pytest.fixture(params=["reference", "native"])
def make_executor(
    request: pytest.FixtureRequest, reference: MakeExecutor, native: MakeExecutor
) -> MakeExecutor:
    return native if request.param == "native" else reference


def client(executor: Executor, **options: Any) -> Client:
    sampler = NativeSampler(executor.limits.vocab_size)
    return Client(Engine(executor, sampler, EngineOptions(**options)))


def prompt(length: int, first: int = 3) -> list[int]:
    return [(first + 7 * index) % VOCAB for index in range(length)]


def alone(make: MakeExecutor, tokens: list[int], params: SamplingParams) -> Client:
    """Run one request on a roomy executor; it has the number 1."""
    lone = client(make(64, 4))
    lone.submit(tokens, params)
    lone.run()
    return lone


def logprobs(owner: Client, number: int) -> list[float]:
    return [entry.logprob for output in owner.outputs[number] for entry in output.logprobs]


def test_the_executor_holds_states(make_executor: MakeExecutor) -> None:
    assert make_executor(64, 4).limits.state_slots == 4


@pytest.mark.parametrize("chunk", [1, 19])
def test_chunks_do_not_change_logits(native: MakeExecutor, chunk: int) -> None:
    scorer = client(native(64, 4))
    whole, parts = scorer.score(prompt(40)), scorer.score(prompt(40), chunk)
    company = scorer.score(prompt(33, 5), 6)
    scorer.run()
    assert np.isfinite(company).all()
    np.testing.assert_array_equal(parts, whole)


def test_company_preemption_and_cancellation_change_nothing(make_executor: MakeExecutor) -> None:
    params = SamplingParams(
        max_tokens=16, temperature=0.8, seed=4, repetition_penalty=1.2, logprobs=1
    )
    crowd = client(make_executor(5, 3))
    prompts = [prompt(20), prompt(29, 8), prompt(20)[:18], prompt(5, 50)]
    numbers = [crowd.submit(tokens, params) for tokens in prompts]
    crowd.engine.step()
    cancelled = crowd.submit(prompt(12, 9), params)
    for _ in range(4):
        crowd.engine.step()
    crowd.engine.cancel(cancelled)
    crowd.run()
    crowd.engine.scheduler.check()
    assert crowd.engine.scheduler.num_preemptions > 0
    assert crowd.last(cancelled).finish_reason == FinishReason.CANCELLED
    for tokens, number in zip(prompts, numbers, strict=True):
        lone = alone(make_executor, tokens, params)
        assert crowd.tokens(number) == lone.tokens(1)
        if isinstance(crowd.engine._executor, NativeExecutor):
            assert logprobs(crowd, number) == logprobs(lone, 1)


def test_a_slot_starts_from_zero_again(native: MakeExecutor) -> None:
    executor = native(64, 1)
    first = client(executor)
    number = first.submit(prompt(30), GREEDY)
    first.run()
    again = client(executor)
    for tokens in (prompt(17, 40), prompt(30)):
        last = again.submit(tokens, GREEDY)
        again.run()
    assert again.tokens(last) == first.tokens(number)
    assert logprobs(again, last) == logprobs(first, number)


def test_equal_prompts_share_no_prefix(native: MakeExecutor) -> None:
    shared = client(native(64, 4))
    numbers = [shared.submit(prompt(40), GREEDY) for _ in range(2)]
    shared.run()
    third = shared.submit(prompt(40), GREEDY)
    shared.run()
    assert shared.last(third).num_cached_tokens == 0
    assert {tuple(shared.tokens(number)) for number in (*numbers, third)} == {
        tuple(alone(native, prompt(40), GREEDY).tokens(1))
    }


def test_a_model_serves_several_requests_at_once(artifact: Path) -> None:
    params = SamplingParams(max_tokens=6, temperature=0, ignore_eos=True)
    prompts = [prompt(9), prompt(26, 11), prompt(1), prompt(14, 30)]
    with LLM(artifact, threads=2, max_step_tokens=32, kv_pages=32) as model:
        together = model.generate(prompts, params)
        apart = [model.generate([one], params)[0] for one in prompts]
    assert [one.token_ids for one in together] == [one.token_ids for one in apart]
    assert all(len(one.token_ids) == 6 for one in together)
