"""The Python interface: shapes of what goes in and out, streams, logits, cancelling, closing."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from ingot import LLM, SamplingParams
from ingot.errors import ArtifactError, IngotError, RequestError
from ingot.runtime.engine import EngineOptions
from ingot.runtime.executor import StepBatch

from .conftest import ToyExecutor, make_toy, toy_limits, toy_llm

GREEDY = SamplingParams(max_tokens=10, temperature=0)


@pytest.fixture(scope="module")
def model() -> Iterator[LLM]:
    with toy_llm() as model:
        yield model


def idle(model: LLM) -> bool:
    """Whether the engine falls idle soon."""
    for _ in range(500):
        if model.engine.state().num_running == model.engine.state().num_waiting == 0:
            return True
        time.sleep(0.01)
    return False


def test_prompts_are_texts_or_tokens_one_or_several(model: LLM) -> None:
    assert model.text.tokenizer is not None
    tokens = model.text.tokenizer.encode("Hello")
    [text] = model.generate("Hello", GREEDY)
    [ids] = model.generate(tokens, GREEDY)
    [array] = model.generate(np.array(tokens), GREEDY)  # type: ignore[arg-type]
    several = model.generate(["Hello", tokens, "other"], GREEDY)
    for same in (ids, array, several[0], several[1]):
        assert (same.text, same.token_ids) == (text.text, text.token_ids)
    assert several[2].token_ids != text.token_ids
    assert text.prompt_token_ids == tokens and text.finish_reason in ("length", "stop")
    assert text.text == model.text.tokenizer.decode(text.token_ids)
    assert model.generate([], GREEDY) == []


def test_each_prompt_may_have_its_own_parameters(model: LLM) -> None:
    params = [SamplingParams(max_tokens=count, temperature=0) for count in (2, 4)]
    completions = model.generate(["abc", "xyz"], params)
    assert [len(completion.token_ids) for completion in completions] == [2, 4]
    with pytest.raises(RequestError, match="2 parameters for 1 prompts"):
        model.generate(["abc"], params)


def test_one_bad_prompt_refuses_the_batch_and_leaves_nothing_running(model: LLM) -> None:
    with pytest.raises(RequestError, match="prompt: is empty"):
        model.generate(["fine", []], SamplingParams(max_tokens=300, temperature=0))
    assert idle(model)


def test_seeds_make_sampling_repeatable_in_company(model: LLM) -> None:
    params = SamplingParams(max_tokens=20, temperature=1.5, seed=7)
    [alone] = model.generate("seed", params)
    company = model.generate(["seed", "one", "seed", "two"], params)
    assert alone.token_ids == company[0].token_ids == company[2].token_ids
    [other] = model.generate("seed", SamplingParams(max_tokens=20, temperature=1.5, seed=8))
    assert other.token_ids != alone.token_ids
    unseeded = SamplingParams(max_tokens=20, temperature=1.5)
    one, two = model.generate(["seed", "seed"], unseeded)
    assert one.token_ids != two.token_ids


def test_logprobs_are_those_of_the_logits(model: LLM) -> None:
    [completion] = model.generate("abc", SamplingParams(max_tokens=4, temperature=0, logprobs=3))
    assert completion.logprobs is not None and len(completion.logprobs) == 4
    logits = model.logits(completion.prompt_token_ids + completion.token_ids)
    rows = logits[len(completion.prompt_token_ids) - 1 : -1].astype(np.float64)
    expected = rows - np.log(np.exp(rows).sum(-1, keepdims=True))
    for entry, row, token in zip(completion.logprobs, expected, completion.token_ids, strict=True):
        assert entry.token_id == token == row.argmax()
        assert entry.logprob == pytest.approx(row[token], abs=1e-5)
        assert [value for _, value in entry.top] == pytest.approx(np.sort(row)[::-1][:3], abs=1e-5)
    [without] = model.generate("abc", GREEDY)
    assert without.logprobs is None


def test_logits_of_one_sequence_or_several(model: LLM) -> None:
    whole = model.logits([5, 6, 7, 8, 9])
    assert whole.dtype == np.float32
    assert whole.shape == (5, model.engine.limits.vocab_size)
    first, second = model.logits([[5, 6, 7, 8, 9], [1, 2]], chunk=2)
    np.testing.assert_array_equal(first, whole)
    assert second.shape[0] == 2
    np.testing.assert_array_equal(model.logits(np.array([5, 6, 7, 8, 9])), whole)  # type: ignore[call-overload]
    with pytest.raises(RequestError, match="context leaves room for 400"):
        model.logits([1] * 401)
    with pytest.raises(RequestError, match="chunk"):
        model.logits([1], chunk=0)


def test_a_stream_gives_the_text_of_the_completion(model: LLM) -> None:
    [completion] = model.generate("stream", GREEDY)
    assert "".join(model.stream("stream", GREEDY)) == completion.text


def test_a_stream_that_is_left_is_cancelled(model: LLM) -> None:
    stream = model.stream("leave", SamplingParams(max_tokens=None, temperature=0, ignore_eos=True))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert idle(model)


def test_chat_uses_the_template(model: LLM) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    [answer] = model.chat(messages, GREEDY)
    [same] = model.generate(model.text.encode_chat(messages), GREEDY)
    assert answer.token_ids == same.token_ids
    assert [each.token_ids for each in model.chat([messages, messages], GREEDY)] == [
        answer.token_ids
    ] * 2
    assert "".join(model.stream(messages, GREEDY)) == answer.text
    with pytest.raises(RequestError, match="unknown role"):
        model.chat([{"role": "bad", "content": "Hi"}])


def test_a_stop_string_is_cut_from_the_text(model: LLM) -> None:
    [whole] = model.generate("stop", SamplingParams(max_tokens=30, temperature=0, ignore_eos=True))
    stop = whole.text[7:10]
    [cut] = model.generate(
        "stop", SamplingParams(max_tokens=30, temperature=0, ignore_eos=True, stop=(stop,))
    )
    assert cut.text == whole.text[: whole.text.index(stop)] and cut.finish_reason == "stop"
    assert len(cut.token_ids) < len(whole.token_ids)


def test_callers_in_several_threads_share_the_engine(model: LLM) -> None:
    expected = {text: model.generate(text, GREEDY)[0].token_ids for text in "abcdef"}
    found: dict[str, list[int]] = {}

    def ask(text: str) -> None:
        found[text] = model.generate(text, GREEDY)[0].token_ids

    threads = [threading.Thread(target=ask, args=(text,)) for text in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_a_failure_of_the_device_is_told_and_the_next_request_answered() -> None:
    def fails(batch: StepBatch) -> bool:
        return bool((batch.token_ids == 3).any())

    with LLM.from_executor(ToyExecutor(toy_limits(), fails)) as model:
        with pytest.raises(IngotError, match="the device failed: out of luck"):
            model.generate([3], GREEDY)
        assert len(model.generate([[1, 2]], GREEDY)[0].token_ids) == 10


def test_closing_ends_what_runs_and_releases_the_device() -> None:
    toy = make_toy(max_positions=100_000, num_pages=7000)
    model = LLM.from_executor(toy, options=EngineOptions(max_running=1))
    failures: list[Exception] = []

    def ask() -> None:
        try:
            model.generate([[1], [2]], SamplingParams(max_tokens=None, ignore_eos=True))
        except IngotError as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while toy.num_steps == 0:
        time.sleep(0.001)
    model.close()
    model.close()
    thread.join(5)
    assert "the model was closed" in str(failures[0]) and toy.closed and not model.alive
    with pytest.raises(RuntimeError, match="closed"):
        model.generate([1], GREEDY)


def test_a_model_without_a_tokenizer_takes_tokens() -> None:
    with LLM.from_executor(make_toy()) as model:
        [completion] = model.generate([1, 2, 3])
        assert completion.text == "" and len(completion.token_ids) == 200 - 3
        for refused in ("text", [1]):
            with pytest.raises(RequestError, match="no tokenizer"):
                model.generate(refused, SamplingParams(stop=("x",)))


def test_a_missing_artifact_is_one_message() -> None:
    with pytest.raises(ArtifactError, match="no such folder"):
        LLM("/nonexistent/model.ingot")


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("max_tokens", 0, "≥ 1"),
        ("max_tokens", 1.5, "an integer"),
        ("temperature", -0.1, "≥ 0"),
        ("temperature", float("nan"), "a number"),
        ("top_k", -2, "≥ -1"),
        ("top_p", 0.0, r"in \(0, 1\]"),
        ("min_p", 1.5, r"in \[0, 1\]"),
        ("repetition_penalty", 0.0, "> 0"),
        ("presence_penalty", 2.5, r"in \[-2, 2\]"),
        ("frequency_penalty", "a", r"in \[-2, 2\]"),
        ("logit_bias", {3: 101}, r"in \[-100, 100\]"),
        ("logit_bias", {-3: 1}, "≥ 0"),
        ("seed", 2**64, r"in \[0, 18446744073709551615\]"),
        ("logprobs", 21, r"in \[0, 20\]"),
        ("stop", ("",), "at least one character"),
        ("stop", ("x",) * 17, "at most 16"),
        ("stop_token_ids", ("x",), "an integer"),
    ],
)
def test_parameters_out_of_range_are_named(field: str, value: object, allowed: str) -> None:
    with pytest.raises(RequestError, match=allowed) as caught:
        SamplingParams(**{field: value})  # type: ignore[arg-type]
    assert caught.value.where.startswith(field)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_the_engine_ends_every_request_with_the_reason() -> None:
    toy = make_toy()
    with LLM.from_executor(toy) as model:

        def broken() -> None:
            raise AssertionError("a page is lost")

        model.engine.scheduler.schedule = broken  # type: ignore[assignment]
        with pytest.raises(IngotError, match=r"the engine has stopped: .*a page is lost"):
            model.generate([1], GREEDY)
        with pytest.raises(RuntimeError, match="closed"):
            model.generate([1], GREEDY)
    assert toy.closed and not model.alive
