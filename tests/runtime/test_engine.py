"""The engine on a small exact model: outputs, ends, failures, and that company changes nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.errors import RequestError
from ingot.runtime.engine import EngineOptions, FinishReason, Output
from ingot.runtime.executor import StepBatch
from ingot.runtime.sampling import SamplingParams

from .conftest import ToyExecutor, make_toy, toy_limits

MakeClient = Callable[..., Any]
GREEDY = SamplingParams(max_tokens=12, temperature=0.0)


def prompt(length: int, first: int = 3) -> list[int]:
    return [(first + 7 * index) % 97 for index in range(length)]


def related(length: int, family: int) -> list[int]:
    return (prompt(16, family % 2) + prompt(length, family // 2))[:length]


def alone(make_client: MakeClient, tokens: list[int], params: SamplingParams) -> list[int]:
    client = make_client()
    number = client.submit(tokens, params)
    client.run()
    return client.tokens(number)


def test_a_request_is_answered_token_by_token(make_client: MakeClient) -> None:
    client = make_client()
    number = client.submit(prompt(5), GREEDY)
    client.run()
    outputs = client.outputs[number]
    assert [len(output.token_ids) for output in outputs] == [1] * 12
    assert [output.finish_reason for output in outputs] == [None] * 11 + [FinishReason.LENGTH]
    assert client.tokens(number) == self_consistent(make_client, prompt(5), 12)


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_of_pages_change_no_token(make_client: MakeClient, groups: int) -> None:
    client = make_client(data_groups=groups, num_pages=8 * groups)
    prompts = [related(30 + 9 * index, index) for index in range(9)]
    numbers = [client.submit(tokens, GREEDY) for tokens in prompts]
    client.run()
    assert client.engine.max_length == 8 * 16
    for number, tokens in zip(numbers, prompts, strict=True):
        assert client.tokens(number) == alone(make_client, tokens, GREEDY)


def self_consistent(make_client: MakeClient, tokens: list[int], count: int) -> list[int]:
    """Greedy decoding by scoring the whole sequence anew for each token."""
    tokens = list(tokens)
    for _ in range(count):
        client = make_client()
        logits = client.score(tokens)
        client.run()
        tokens.append(int(logits[-1].argmax()))
    return tokens[-count:]


@pytest.mark.parametrize("chunk", [None, 1, 3, 16, 17])
def test_logits_do_not_depend_on_the_chunks(make_client: MakeClient, chunk: int | None) -> None:
    whole, parts = make_client(max_step_tokens=128), make_client(max_step_tokens=40)
    expected, logits = whole.score(prompt(100)), parts.score(prompt(100), chunk)
    whole.run()
    parts.run()
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(logits, expected)


def test_end_tokens(make_client: MakeClient) -> None:
    tokens = alone(make_client, prompt(5), GREEDY)
    end = tokens[3]
    first = tokens.index(end)
    client = make_client()
    ended = client.submit(prompt(5), GREEDY, end_ids=frozenset([end]))
    listed = client.submit(
        prompt(5), SamplingParams(max_tokens=12, temperature=0, stop_token_ids=(end,))
    )
    ignored = client.submit(
        prompt(5),
        SamplingParams(max_tokens=12, temperature=0, ignore_eos=True),
        end_ids=frozenset([end]),
    )
    client.run()
    for number in (ended, listed):
        assert client.tokens(number) == tokens[: first + 1]
        assert client.last(number).finish_reason == FinishReason.STOP
    assert client.tokens(ignored) == tokens


def test_output_ends_where_the_context_is_full(make_client: MakeClient) -> None:
    client = make_client(max_positions=40)
    number = client.submit(prompt(30), SamplingParams(max_tokens=None))
    client.run()
    assert len(client.tokens(number)) == 10
    assert client.last(number).finish_reason == FinishReason.LENGTH


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "prompt: is empty"),
        (prompt(200), "has 200 tokens, and this model's context leaves room for 199"),
        ([1, 97], "there is no token 97"),
        ([-1], "there is no token -1"),
        ([1.5], "1.5 is no token id"),
    ],
)
def test_bad_prompts_are_refused(make_client: MakeClient, tokens: list[int], message: str) -> None:
    client = make_client()
    with pytest.raises(RequestError, match=message):
        client.submit(tokens, GREEDY)
    with pytest.raises(RequestError):
        client.submit([1], SamplingParams(logit_bias={97: 1.0}))
    client.run()


def test_a_failed_step_fails_its_requests_and_no_other(make_client: MakeClient) -> None:
    def poisoned(batch: StepBatch) -> bool:
        return bool((batch.token_ids == 96).any())

    client = make_client(ToyExecutor(toy_limits(), poisoned))
    bad = client.submit([5, 96], GREEDY)
    client.run()
    assert client.last(bad) == Output(
        bad, finish_reason=FinishReason.ERROR, error="the device failed: out of luck"
    )
    good = client.submit(prompt(5), GREEDY)
    client.run()
    assert client.tokens(good) == alone(make_client, prompt(5), GREEDY)


def test_a_row_that_cannot_be_sampled_fails_only_its_request(make_client: MakeClient) -> None:
    client = make_client()
    sample = client.engine._sampler.sample

    def broken(logits: Any, requests: Any) -> Any:
        for row, request in enumerate(requests):
            if request.tokens[0] == 9:
                logits[row] = np.nan
        return sample(logits, requests)

    client.engine._sampler.sample = broken
    bad, good = client.submit([9, 1], GREEDY), client.submit(prompt(5), GREEDY)
    client.run()
    assert client.last(bad).error == "sampling failed: the logits are not finite"
    assert client.tokens(good) == alone(make_client, prompt(5), GREEDY)


def test_an_owner_that_raises_is_cancelled(make_client: MakeClient) -> None:
    client = make_client()

    def gone(output: Output) -> None:
        raise RuntimeError("the loop is closed")

    client.engine.submit(prompt(5), GREEDY, gone)
    good = client.submit(prompt(5), GREEDY)
    client.run()
    assert len(client.tokens(good)) == 12


def test_cancelling(make_client: MakeClient) -> None:
    client = make_client(options=EngineOptions(max_running=1))
    running, waiting = client.submit(prompt(5), GREEDY), client.submit(prompt(6), GREEDY)
    client.engine.step()
    client.engine.step()
    for number in (running, waiting, running, 99):
        client.engine.cancel(number)
    client.run()
    assert client.tokens(running) == alone(make_client, prompt(5), GREEDY)[:2]
    for number in (running, waiting):
        assert client.last(number).finish_reason == FinishReason.CANCELLED


def test_a_cached_prefix_saves_work_and_changes_nothing(make_client: MakeClient) -> None:
    toy = make_toy()
    client = make_client(toy)
    client.submit(prompt(50), GREEDY)
    client.run()
    before = toy.num_tokens
    number = client.submit([*prompt(50), 11, 12], GREEDY)
    client.run()
    assert toy.num_tokens - before == 52 - 48 + 11
    assert client.last(number).num_cached_tokens == 48
    assert client.tokens(number) == alone(make_client, [*prompt(50), 11, 12], GREEDY)


def test_a_page_is_not_reused_behind_another_beginning(make_client: MakeClient) -> None:
    client = make_client()
    for family, cached in ((0, 0), (3, 0), (2, 16)):
        number = client.submit(related(40, family), GREEDY)
        client.run()
        assert client.last(number).num_cached_tokens == cached
        assert client.tokens(number) == alone(make_client, related(40, family), GREEDY)


PARAMS = st.builds(
    SamplingParams,
    max_tokens=st.integers(1, 30),
    temperature=st.sampled_from([0.0, 0.7]),
    seed=st.integers(0, 5),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    logprobs=st.sampled_from([None, 2]),
)
ARRIVAL = st.tuples(
    st.integers(0, 15),  # step of arrival
    st.integers(1, 60),  # prompt length
    st.integers(0, 3),  # families: the first page alike, or all the others, or both, or neither
    PARAMS,
    st.one_of(st.none(), st.integers(0, 20)),  # steps until it is cancelled
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(ARRIVAL, min_size=1, max_size=10),
    st.integers(6, 12),
    st.integers(1, 70),
    st.integers(1, 6),
)
def test_company_changes_nothing(
    make_client: MakeClient, arrivals: list[Any], num_pages: int, budget: int, max_running: int
) -> None:
    """Random arrivals and cancellations on a tiny pool give what each request gets alone."""
    client = make_client(
        options=EngineOptions(max_running=max_running), num_pages=num_pages, max_step_tokens=budget
    )
    alive = dict(enumerate(sorted(arrivals, key=lambda arrival: arrival[0])))
    numbers: dict[int, int] = {}
    cancels: dict[int, int] = {}
    step, busy = 0, True
    while busy or len(numbers) < len(alive):
        for key, (arrival, length, family, params, patience) in alive.items():
            if arrival == step:
                numbers[key] = client.submit(related(length, family), params)
                if patience is not None:
                    cancels[numbers[key]] = step + patience
        for number, when in cancels.items():
            if when == step:
                client.engine.cancel(number)
        busy = client.engine.step()
        client.engine.scheduler.check()
        step += 1
    assert client.engine.scheduler.pool.num_held == 0
    for key, number in numbers.items():
        _, length, family, params, _ = alive[key]
        expected = alone(make_client, related(length, family), params)
        expected = expected[: num_pages * 16 - length]
        if client.last(number).finish_reason == FinishReason.CANCELLED:
            assert client.tokens(number) == expected[: len(client.tokens(number))]
        else:
            assert client.tokens(number) == expected
