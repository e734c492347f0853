"""The engine on every executor: the exact toy, the reference interpreter and the native one.

The two real ones run the same random Llama; the native one must give the very same bits alone and
in company, the reference the same tokens.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.compiler.reference import ReferenceExecutor
from ingot.models import import_model, open_checkpoint
from ingot.models.random_checkpoint import write_random_checkpoint
from ingot.passes import parse_pipeline
from ingot.runtime.artifact import Artifact
from ingot.runtime.cpu_level import supported_levels
from ingot.runtime.engine import Engine, EngineOptions, FinishReason
from ingot.runtime.engine.bursts import Bursts
from ingot.runtime.engine.native_sampler import NativeSampler
from ingot.runtime.executor import Executor, Limits, StepBatch
from ingot.runtime.native_executor import NativeExecutor
from ingot.runtime.sampling import SamplingParams
from ingot.targets import Settings

from .conftest import Client, make_toy

VOCAB, POSITIONS = 97, 200
GREEDY = SamplingParams(max_tokens=6, temperature=0, logprobs=1)
MakeExecutor = Callable[[int, int], Executor]
"""(pages, tokens of a step) → an executor; the same one for the same numbers."""


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
    )
    return write_random_checkpoint(tmp_path_factory.mktemp("engine") / "llama", config)


@pytest.fixture(scope="session")
def toy(checkpoint: Path) -> MakeExecutor:
    return lambda pages, tokens: make_toy(num_pages=pages, max_step_tokens=tokens)


@pytest.fixture(scope="session")
def reference(checkpoint: Path) -> MakeExecutor:
    opened = open_checkpoint(checkpoint)
    module = import_model(opened)
    parse_pipeline("raise,canonicalize,select-rows").run(module)
    return lambda pages, tokens: ReferenceExecutor(
        module,
        opened.weights,
        vocab_size=VOCAB,
        max_positions=POSITIONS,
        num_pages=pages,
        max_step_tokens=tokens,
    )


@pytest.fixture(scope="session")
def native(checkpoint: Path) -> Iterator[MakeExecutor]:
    path = checkpoint.with_suffix(".ingot")
    level = supported_levels()[-1]
    options = CompileOptions("cpu", Settings(linear="none", embedding="none", levels=(level,)))
    compile_model(checkpoint, path, options)
    yield from made_of(NativeExecutor, Artifact.open(path))


class Bursting(NativeExecutor):
    """The native executor, with an engine that lets it decode on its own."""


@pytest.fixture(scope="session")
def bursts(native: MakeExecutor, checkpoint: Path) -> Iterator[MakeExecutor]:
    yield from made_of(Bursting, Artifact.open(checkpoint.with_suffix(".ingot")))


def made_of(kind: type[NativeExecutor], artifact: Artifact) -> Iterator[MakeExecutor]:
    made: list[NativeExecutor] = []

    @cache
    def make(pages: int, tokens: int) -> Executor:
        made.append(kind(artifact, threads=2, max_step_tokens=tokens, kv_pages=pages))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


@pytest.fixture(params=["toy", "reference", "native", "bursts"])
def make_executor(request: pytest.FixtureRequest) -> MakeExecutor:
    make: MakeExecutor = request.getfixturevalue(request.param)
    return make


class Unreliable:
    """An executor that fails at one step."""

    def __init__(self, inner: Executor, failing: int) -> None:
        self._inner, self._failing, self._step = inner, failing, 0

    @property
    def limits(self) -> Limits:
        return self._inner.limits

    def step(self, batch: StepBatch) -> Any:
        self._step += 1
        if self._step == self._failing:
            raise RuntimeError("a cosmic ray")
        return self._inner.step(batch)

    def close(self) -> None:
        self._inner.close()


def client(executor: Executor, **options: Any) -> Client:
    sampler = NativeSampler(executor.limits.vocab_size)
    bursts = Bursts(executor, sampler) if isinstance(executor, Bursting) else None
    return Client(Engine(executor, sampler, EngineOptions(**options), bursts=bursts))


def prompt(length: int, first: int = 3) -> list[int]:
    return [(first + 7 * index) % VOCAB for index in range(length)]


def alone(make: MakeExecutor, tokens: list[int], params: SamplingParams) -> Client:
    """Run one request on a roomy executor; it has the number 1."""
    lone = client(make(64, 64), reuse_prefixes=False)
    lone.submit(tokens, params)
    lone.run()
    return lone


def logprobs(owner: Client, number: int) -> list[float]:
    return [entry.logprob for output in owner.outputs[number] for entry in output.logprobs]


def test_decoding_is_scoring_one_token_longer(make_executor: MakeExecutor) -> None:
    tokens = prompt(21)
    for token in alone(make_executor, tokens, GREEDY).tokens(1):
        scorer = client(make_executor(64, 64))
        logits = scorer.score(tokens)
        scorer.run()
        assert int(logits[-1].argmax()) == token
        tokens.append(token)


@pytest.mark.parametrize("chunk", [3, 16, 19])
def test_chunks_do_not_change_logits(make_executor: MakeExecutor, chunk: int) -> None:
    scorer = client(make_executor(64, 48))
    whole, parts = scorer.score(prompt(40)), scorer.score(prompt(40), chunk)
    company = scorer.score(prompt(33, 5), 7)
    scorer.run()
    assert np.isfinite(company).all()
    if isinstance(scorer.engine._executor, ReferenceExecutor):
        np.testing.assert_allclose(parts, whole, atol=1e-5)
    else:
        np.testing.assert_array_equal(parts, whole)


def test_a_known_prefix_does_not_change_the_output(make_executor: MakeExecutor) -> None:
    shared = client(make_executor(16, 64))
    shared.submit(prompt(40), GREEDY)
    shared.run()
    number = shared.submit([*prompt(40), 1, 2], GREEDY)
    shared.run()
    lone = alone(make_executor, [*prompt(40), 1, 2], GREEDY)
    assert shared.last(number).num_cached_tokens == 32
    assert shared.tokens(number) == lone.tokens(1)


def test_company_in_too_small_a_cache_changes_nothing(make_executor: MakeExecutor) -> None:
    params = SamplingParams(
        max_tokens=16, temperature=0.8, seed=4, repetition_penalty=1.2, logprobs=1
    )
    crowd = client(make_executor(5, 48), max_running=3)
    prompts = [prompt(20), prompt(29, 8), prompt(20)[:18], prompt(5, 50)]
    numbers = [crowd.submit(tokens, params) for tokens in prompts]
    crowd.engine.step()
    cancelled = crowd.submit(prompt(12, 9), params)
    for _ in range(4):
        crowd.engine.step()
    crowd.engine.cancel(cancelled)
    crowd.run()
    assert crowd.engine.scheduler.num_preemptions > 0
    if not isinstance(crowd.engine._executor, Bursting):  # a burst may have ended it before
        assert crowd.last(cancelled).finish_reason == FinishReason.CANCELLED
    for tokens, number in zip(prompts, numbers, strict=True):
        assert crowd.tokens(number) == alone(make_executor, tokens, params).tokens(1)


def test_a_failed_step_leaves_the_others_right(make_executor: MakeExecutor) -> None:
    owner = client(Unreliable(make_executor(32, 32), failing=3))
    first = owner.submit(prompt(20), GREEDY)
    for _ in range(3):
        owner.engine.step()
    assert owner.last(first).error == "the device failed: a cosmic ray"
    second = owner.submit(prompt(20), GREEDY)
    owner.run()
    assert owner.tokens(second) == alone(make_executor, prompt(20), GREEDY).tokens(1)


REQUEST = st.tuples(
    st.integers(0, 10),  # step of arrival
    st.integers(1, 50),  # prompt length
    st.integers(0, 3),  # family of prompts
    st.sampled_from([0.0, 0.9]),  # temperature
    st.one_of(st.none(), st.integers(0, 15)),  # steps until it is cancelled
)


REQUESTS = st.lists(REQUEST, min_size=2, max_size=8)
SIZES = {"pages": st.sampled_from([6, 9]), "tokens": st.sampled_from([16, 48])}


@settings(max_examples=30, deadline=None)
@given(requests=REQUESTS, **SIZES)
def test_the_bits_are_the_same_in_any_company(
    native: MakeExecutor, requests: list[Any], pages: int, tokens: int
) -> None:
    check_company(client(native(pages, tokens), max_running=5), native, requests)


@settings(max_examples=30, deadline=None)
@given(requests=REQUESTS, **SIZES)
def test_bursts_change_no_bit(
    native: MakeExecutor, bursts: MakeExecutor, requests: list[Any], pages: int, tokens: int
) -> None:
    check_company(client(bursts(pages, tokens), max_running=5), native, requests)


def check_company(crowd: Client, native: MakeExecutor, requests: list[Any]) -> None:
    """Let requests come and go, and compare each with its run alone, a step at a time."""
    waiting = [(arrival, index) for index, (arrival, *_) in enumerate(requests)]
    numbers: dict[int, int] = {}
    busy, step = True, 0
    while busy or waiting:
        for _, index in [item for item in waiting if item[0] <= step]:
            _, length, family, temperature, _ = requests[index]
            params = SamplingParams(max_tokens=20, temperature=temperature, seed=index, logprobs=0)
            numbers[index] = crowd.submit(related(length, family), params)
        waiting = [item for item in waiting if item[0] > step]
        for index, number in numbers.items():
            arrival, *_, patience = requests[index]
            if patience is not None and step == arrival + patience:
                crowd.engine.cancel(number)
        busy = crowd.engine.step()
        step += 1
    crowd.engine.scheduler.check()
    for index, number in numbers.items():
        _, length, family, temperature, _ = requests[index]
        params = SamplingParams(max_tokens=20, temperature=temperature, seed=index, logprobs=0)
        lone = alone(native, related(length, family), params)
        count = len(crowd.tokens(number))
        assert count == 20 or crowd.last(number).finish_reason == FinishReason.CANCELLED
        assert crowd.tokens(number) == lone.tokens(1)[:count]
        assert logprobs(crowd, number) == logprobs(lone, 1)[:count]


def test_a_burst_ends_where_a_request_does(native: MakeExecutor, bursts: MakeExecutor) -> None:
    params = SamplingParams(max_tokens=40, temperature=1, seed=3)
    tokens = alone(native, prompt(20), params).tokens(1)
    end = next(token for token in tokens if tokens.index(token) > 8)
    wanted = tokens[: tokens.index(end) + 1]
    owner = client(bursts(64, 64))
    params = replace(params, stop_token_ids=(end,))
    first, second = owner.submit(prompt(20), params), owner.submit(prompt(33, 9), GREEDY)
    owner.engine.step()
    steps = 1
    while owner.engine.step():
        steps += 1
    owner.engine.scheduler.check()
    assert owner.tokens(first) == wanted
    assert owner.last(first).finish_reason == FinishReason.STOP
    assert owner.tokens(second) == alone(native, prompt(33, 9), GREEDY).tokens(1)
    assert steps < len(wanted), "no burst was longer than a step"


def test_a_request_whose_sampling_fails_in_a_burst_fails_alone(
    native: MakeExecutor, bursts: MakeExecutor
) -> None:
    owner = client(bursts(64, 64))
    # No user may ask for that: a token gains 3e38 each time it is in the output, and twice is too
    # much for a float.
    endless = SamplingParams(max_tokens=40, temperature=0)
    object.__setattr__(endless, "frequency_penalty", -3e38)
    failing, other = owner.submit(prompt(20), endless), owner.submit(prompt(33, 9), GREEDY)
    owner.run()
    owner.engine.scheduler.check()
    assert owner.last(failing).finish_reason == FinishReason.ERROR
    assert "no finite maximum" in owner.last(failing).error
    assert len(owner.tokens(failing)) == 2
    assert owner.tokens(other) == alone(native, prompt(33, 9), GREEDY).tokens(1)


def test_news_ends_a_burst(bursts: MakeExecutor) -> None:
    owner = client(bursts(64, 64))
    number = owner.submit(prompt(20), SamplingParams(max_tokens=150, temperature=0))
    owner.engine.step()
    listen = owner.engine._bursts.listen

    def listen_and_miss() -> None:
        listen()
        owner.engine._bursts.interrupt()  # as if a request came just then

    owner.engine._bursts.listen = listen_and_miss
    owner.engine.step()
    assert len(owner.tokens(number)) == 2


def related(length: int, family: int) -> list[int]:
    return (prompt(16, family % 2) + prompt(length, family // 2))[:length]
