"""The daemon over a real socket: OpenAI's own client, and requests that nobody should send."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from ingot.errors import IngotError
from ingot.runtime.engine import EngineOptions
from ingot.runtime.executor import StepBatch
from ingot.runtime.llm import LLM
from ingot.runtime.sampling import SamplingParams
from ingot.runtime.server import Metrics, ServerOptions, bind, serve

from .conftest import ToyExecutor, make_toy, toy_limits, toy_llm

MESSAGES = [{"role": "user", "content": "Hi"}]


class Daemon:
    """A daemon in a thread of this process, and what its model says without it."""

    def __init__(self, server_options: ServerOptions, **llm_options: Any) -> None:
        self.metrics = Metrics("toy")
        self.model = toy_llm(observer=self.metrics, **llm_options)
        self._ready = threading.Event()
        listener = bind(server_options)
        self.url = ""

        def ready(url: str, stop: Callable[[], None]) -> None:
            self.url, self._stop = url, stop
            self._ready.set()

        self._thread = threading.Thread(
            target=serve,
            args=(self.model, server_options, self.metrics, listener),
            kwargs={"ready": ready},
        )
        self._thread.start()
        assert self._ready.wait(10)

    def running(self) -> int:
        state = self.model.engine.state()
        return state.num_running + state.num_waiting

    def becomes_idle(self) -> bool:
        for _ in range(500):
            if self.running() == 0:
                return True
            time.sleep(0.01)
        return False

    def close(self) -> None:
        """As SIGTERM does."""
        self._stop()
        self._thread.join(30)
        assert not self._thread.is_alive()


def options(**changes: Any) -> ServerOptions:
    return ServerOptions(port=0, **changes)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    daemon = Daemon(options(max_body_bytes=100_000))
    yield daemon
    daemon.close()


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def http(daemon: Daemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, timeout=20) as client:
        yield client


def expected(daemon: Daemon, prompt: Any, **params: Any) -> Any:
    return daemon.model.generate([prompt], SamplingParams(**{"temperature": 0} | params))[0]


def chat_tokens(daemon: Daemon) -> list[int]:
    return daemon.model.text.encode_chat(MESSAGES)


def test_models(client: openai.OpenAI) -> None:
    [model] = client.models.list().data
    assert model.id == "toy" and client.models.retrieve("toy").id == "toy"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_a_chat(client: openai.OpenAI, daemon: Daemon) -> None:
    answer = client.chat.completions.create(model="toy", messages=MESSAGES, max_tokens=12)  # type: ignore[arg-type]
    wanted = expected(daemon, chat_tokens(daemon), max_tokens=12)
    [choice] = answer.choices
    assert choice.message.role == "assistant" and choice.message.content == wanted.text
    assert choice.finish_reason == wanted.finish_reason
    assert answer.usage is not None and answer.model == "toy"
    assert answer.usage.prompt_tokens == len(chat_tokens(daemon))
    assert answer.usage.completion_tokens == len(wanted.token_ids)


def test_a_streamed_chat(client: openai.OpenAI, daemon: Daemon) -> None:
    chunks = list(
        client.chat.completions.create(
            model="toy",
            messages=MESSAGES,  # type: ignore[arg-type]
            max_completion_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    wanted = expected(daemon, chat_tokens(daemon), max_tokens=12)
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == wanted.text
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] == wanted.finish_reason and not any(reasons[:-1])
    assert chunks[-1].choices == [] and chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(wanted.token_ids)
    assert len({chunk.id for chunk in chunks}) == 1


def test_several_choices_of_a_seed(client: openai.OpenAI) -> None:
    def ask(seed: int, n: int) -> list[str | None]:
        answer = client.chat.completions.create(
            model="toy",
            messages=MESSAGES,  # type: ignore[arg-type]
            max_tokens=12,
            temperature=1.5,
            seed=seed,
            n=n,
        )
        return [choice.message.content for choice in answer.choices]

    first = ask(5, 3)
    assert first == ask(5, 3) and len(set(first)) == 3 and first[1:] == ask(6, 2)


def test_logprobs_of_a_chat(client: openai.OpenAI, daemon: Daemon) -> None:
    answer = client.chat.completions.create(
        model="toy",
        messages=MESSAGES,  # type: ignore[arg-type]
        max_tokens=5,
        logprobs=True,
        top_logprobs=2,
    )
    wanted = expected(daemon, chat_tokens(daemon), max_tokens=5, logprobs=2)
    assert answer.choices[0].logprobs is not None
    content = answer.choices[0].logprobs.content
    assert content is not None and len(content) == 5
    for entry, token in zip(content, wanted.logprobs, strict=True):
        assert entry.logprob == pytest.approx(token.logprob)
        assert [top.logprob for top in entry.top_logprobs] == pytest.approx(
            [value for _, value in token.top]
        )
    text = b"".join(bytes(entry.bytes or []) for entry in content)
    assert text.decode(errors="replace") == answer.choices[0].message.content


def test_completions_of_texts_and_tokens(client: openai.OpenAI, daemon: Daemon) -> None:
    tokens = daemon.model.text.encode("abc")
    one = client.completions.create(model="toy", prompt="abc", temperature=0)
    ids = client.completions.create(model="toy", prompt=tokens, temperature=0)
    both = client.completions.create(model="toy", prompt=["abc", "xyz"], temperature=0, n=2)
    lists = client.completions.create(model="toy", prompt=[tokens, tokens], temperature=0)
    wanted = expected(daemon, "abc", max_tokens=16)
    assert one.choices[0].text == ids.choices[0].text == wanted.text
    assert one.usage is not None and one.usage.completion_tokens == len(wanted.token_ids)
    other = expected(daemon, "xyz", max_tokens=16).text
    assert [choice.text for choice in both.choices] == [wanted.text] * 2 + [other] * 2
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert [choice.text for choice in lists.choices] == [wanted.text] * 2


def test_a_streamed_completion_with_logprobs(client: openai.OpenAI, daemon: Daemon) -> None:
    stream = client.completions.create(
        model="toy", prompt="abc", max_tokens=6, temperature=0, stream=True, logprobs=1
    )
    choices = [chunk.choices[0] for chunk in stream]
    wanted = expected(daemon, "abc", max_tokens=6, logprobs=1)
    assert "".join(choice.text for choice in choices) == wanted.text
    found = [value for c in choices if c.logprobs for value in c.logprobs.token_logprobs or []]
    assert found == pytest.approx([entry.logprob for entry in wanted.logprobs])


def test_stop_strings(client: openai.OpenAI, daemon: Daemon) -> None:
    whole = expected(daemon, "stop", max_tokens=30, ignore_eos=True)
    stop = whole.text[5:8]
    answer = client.completions.create(
        model="toy",
        prompt="stop",
        max_tokens=30,
        stop=["never there", stop],
        extra_body={"ignore_eos": True, "temperature": 0},
    )
    assert answer.choices[0].text == whole.text[: whole.text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_parts_of_a_message_are_joined(http: httpx.Client, daemon: Daemon) -> None:
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    body = {"messages": [{"role": "user", "content": parts}], "max_tokens": 4}
    answer = http.post("/v1/chat/completions", json=body).json()
    prompt = daemon.model.text.encode_chat([{"role": "user", "content": "H\ni"}])
    wanted = expected(daemon, prompt, max_tokens=4).text
    assert answer["choices"][0]["message"]["content"] == wanted


def test_raw_events_end_with_done(http: httpx.Client) -> None:
    body = {"messages": MESSAGES, "max_tokens": 3, "stream": True}
    response = http.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert all(json.loads(event)["object"] == "chat.completion.chunk" for event in events[:-1])


def test_tokenize_and_back(http: httpx.Client, daemon: Daemon) -> None:
    tokens = http.post("/tokenize", json={"prompt": "naïve"}).json()
    assert tokens["tokens"] == daemon.model.text.encode("naïve")
    assert tokens["count"] == len(tokens["tokens"]) and tokens["max_model_len"] == 400
    assert http.post("/detokenize", json={"tokens": tokens["tokens"]}).json()["prompt"] == "naïve"
    chat = http.post("/tokenize", json={"messages": MESSAGES}).json()
    assert chat["tokens"] == chat_tokens(daemon)
    assert http.post("/tokenize", json={}).status_code == 400
    assert http.post("/detokenize", json={"tokens": [10**6]}).status_code == 400


def test_metrics(http: httpx.Client, client: openai.OpenAI) -> None:
    def value(name: str) -> float:
        lines = http.get("/metrics").text.splitlines()
        [line] = [line for line in lines if line.startswith(name)]
        return float(line.split()[-1])

    before = value('ingot_generation_tokens_total{model_name="toy"}')
    ended = 'ingot_request_success_total{finished_reason="length",model_name="toy"}'
    client.completions.create(
        model="toy", prompt="a", max_tokens=3, extra_body={"ignore_eos": True}
    )
    for _ in range(100):  # the engine counts after it has answered
        if value('ingot_num_requests_running{model_name="toy"}') == 0:
            break
        time.sleep(0.01)
    assert value('ingot_generation_tokens_total{model_name="toy"}') == before + 3
    assert value(ended) >= 1
    for name in (
        "num_requests_waiting",
        "kv_cache_usage_perc",
        "prefix_cache_queries_total",
        "prefix_cache_hits_total",
        "prompt_tokens_total",
        "num_preemptions_total",
        "time_to_first_token_seconds_count",
        "inter_token_latency_seconds_count",
        "e2e_request_latency_seconds_count",
        "request_queue_time_seconds_count",
        "request_prefill_time_seconds_count",
        "request_decode_time_seconds_count",
    ):
        assert value(f'ingot_{name}{{model_name="toy"}}') >= 0


CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        (CHAT, b"{", 400, "not valid JSON"),
        (CHAT, b"", 400, "not valid JSON"),
        (CHAT, b"\xff\xfe", 400, "not valid JSON"),
        (CHAT, b"[" * 50_000, 400, "not valid JSON"),
        (CHAT, b'{"messages": ' + b"9" * 5000 + b"}", 400, ""),
        (CHAT, b"[1]", 400, "must be a JSON object"),
        (CHAT, {}, 400, "messages"),
        (CHAT, {"messages": []}, 400, "messages"),
        (CHAT, {"messages": "Hi"}, 400, "messages"),
        (CHAT, {"messages": [{"content": "Hi"}]}, 400, "messages.0.role"),
        (CHAT, {"messages": [{"role": "user", "content": {"a": 1}}]}, 400, "content"),
        (CHAT, {"messages": [{"role": "bad", "content": "Hi"}]}, 400, "unknown role"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "not 'image_url'",
        ),
        (CHAT, {"messages": MESSAGES, "max_tokens": "many"}, 400, "max_tokens"),
        (CHAT, {"messages": MESSAGES, "max_tokens": 0}, 400, "max_tokens"),
        (CHAT, {"messages": MESSAGES, "max_completion_tokens": 0}, 400, "max_tokens"),
        (CHAT, {"messages": MESSAGES, "temperature": -1}, 400, "temperature"),
        (CHAT, b'{"messages": [{"role": "user"}], "temperature": NaN}', 400, "temperature"),
        (CHAT, {"messages": MESSAGES, "top_p": 2}, 400, "top_p"),
        (CHAT, {"messages": MESSAGES, "n": 0}, 400, "n"),
        (CHAT, {"messages": MESSAGES, "n": 1000}, 400, "n"),
        (CHAT, {"messages": MESSAGES, "stop": [3]}, 400, "stop"),
        (CHAT, {"messages": MESSAGES, "logit_bias": {"x": 1}}, 400, "logit_bias"),
        (CHAT, {"messages": MESSAGES, "logit_bias": {"999999": 1}}, 400, "logit_bias"),
        (CHAT, {"messages": MESSAGES, "top_logprobs": 3}, 400, "top_logprobs"),
        (CHAT, {"messages": MESSAGES, "stream_options": {}}, 400, "stream_options"),
        (CHAT, {"messages": MESSAGES, "response_format": {"type": "json_object"}}, 400, "response"),
        (CHAT, {"messages": MESSAGES, "tools": [{"type": "function"}]}, 400, "tools"),
        (CHAT, {"messages": MESSAGES, "model": "gpt-4"}, 404, "'gpt-4' does not exist"),
        (CHAT, {"messages": [{"role": "user", "content": "x" * 500}]}, 400, "room for 399"),
        (CHAT, b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400, "Unicode"),
        (TEXT, {}, 400, "prompt"),
        (TEXT, {"prompt": ""}, 400, "is empty"),
        (TEXT, {"prompt": []}, 400, "prompt"),
        (TEXT, {"prompt": [-1]}, 400, "no token -1"),
        (TEXT, {"prompt": [10**9]}, 400, "no token 1000000000"),
        (TEXT, {"prompt": ["a", []]}, 400, "prompt"),
        (TEXT, {"prompt": ["a"] * 257}, 400, "256 prompts"),
        (TEXT, {"prompt": {"a": 1}}, 400, "prompt"),
        (TEXT, {"prompt": "a", "echo": True}, 400, "echo is not supported"),
        (TEXT, {"prompt": "a", "suffix": "b"}, 400, "suffix"),
        (TEXT, {"prompt": "a", "best_of": 3}, 400, "best_of"),
        (TEXT, {"prompt": "a", "logprobs": 50}, 400, "logprobs"),
        (TEXT, b" " * 200_000, 413, "longer than 100000 bytes"),
    ],
)
def test_bad_requests_are_answered_with_the_reason(
    http: httpx.Client, daemon: Daemon, path: str, body: Any, status: int, message: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = http.post(path, content=content)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert message in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert http.get("/health").status_code == 200 and daemon.running() == 0


def test_unknown_fields_are_let_through(http: httpx.Client) -> None:
    body = {"messages": MESSAGES, "max_tokens": 1, "user": "me", "store": False, "shoe_size": 43}
    assert http.post(CHAT, json=body).status_code == 200


def test_unknown_paths_and_methods(http: httpx.Client) -> None:
    assert http.get("/v2").json()["error"]["type"] == "not_found_error"
    assert http.get(CHAT).status_code == 405
    assert http.get("/health", headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_is_cancelled(daemon: Daemon, stream: bool) -> None:
    daemon.model.engine._executor.delay = 0.01  # type: ignore[attr-defined]
    body = json.dumps(
        {"prompt": "go", "max_tokens": 390, "ignore_eos": True, "stream": stream}
    ).encode()
    host, port = daemon.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {TEXT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        if stream:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        while daemon.running() == 0:
            time.sleep(0.001)
    started = time.monotonic()
    assert daemon.becomes_idle()
    assert time.monotonic() - started < 2, "it ran to its end"
    daemon.model.engine._executor.delay = 0.0  # type: ignore[attr-defined]


def test_half_a_request_harms_nobody(daemon: Daemon, http: httpx.Client) -> None:
    host, port = daemon.url.removeprefix("http://").split(":")
    for head in (
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
        b"\x00\x01\x02 garbage\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
    ):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head)
    assert http.get("/health").status_code == 200


def test_a_failure_of_the_device_is_a_500_and_an_event_in_a_stream() -> None:
    def fails(batch: StepBatch) -> bool:
        return bool((batch.token_ids == 3).any())

    toy = ToyExecutor(toy_limits(vocab_size=261, max_positions=400), fails)
    daemon = Daemon(options(), executor=toy)
    try:
        with httpx.Client(base_url=daemon.url) as http:
            whole = http.post(TEXT, json={"prompt": [3]})
            assert whole.status_code == 500 and "out of luck" in whole.json()["error"]["message"]
            stream = http.post(TEXT, json={"prompt": [3], "stream": True})
            assert "out of luck" in stream.text and stream.text.endswith("data: [DONE]\n\n")
            assert http.post(TEXT, json={"prompt": [4], "max_tokens": 2}).status_code == 200
    finally:
        daemon.close()


def test_load_is_shed_above_the_limit() -> None:
    daemon = Daemon(options(max_waiting=1), options=EngineOptions(max_running=1))
    daemon.model.engine._executor.delay = 0.005  # type: ignore[attr-defined]
    try:
        with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="x", max_retries=0) as client:
            extra = {"ignore_eos": True}
            streams = [
                client.completions.create(
                    model="toy", prompt="a", max_tokens=300, stream=True, extra_body=extra
                )
                for _ in range(2)
            ]
            with pytest.raises(openai.RateLimitError) as caught:
                client.completions.create(model="toy", prompt="a")
            assert caught.value.response.headers["retry-after"] == "1"
            for stream in streams:
                stream.close()
            assert daemon.becomes_idle()
            assert client.completions.create(model="toy", prompt="a", max_tokens=1).choices
    finally:
        daemon.close()


def test_a_key_is_asked_for() -> None:
    daemon = Daemon(options(api_key="sesame", served_model_names=("alias", "other")))
    try:
        with httpx.Client(base_url=daemon.url) as http:
            assert http.get("/v1/models").status_code == 401
            assert http.get("/health").status_code == 200
            wrong = {"Authorization": "Bearer wrong"}
            assert (
                http.get("/v1/models", headers=wrong).json()["error"]["code"] == "invalid_api_key"
            )
        with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="sesame") as client:
            assert [model.id for model in client.models.list().data] == ["alias", "other"]
    finally:
        daemon.close()


def test_draining_lets_running_requests_end_and_refuses_new_ones() -> None:
    daemon = Daemon(options())
    daemon.model.engine._executor.delay = 0.01  # type: ignore[attr-defined]
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="x", max_retries=0) as client:
        stream = client.completions.create(
            model="toy", prompt="a", max_tokens=60, stream=True, extra_body={"ignore_eos": True}
        )
        reasons = [next(iter(stream)).choices[0].finish_reason]
        closing = threading.Thread(target=daemon.close)
        closing.start()
        time.sleep(0.3)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{daemon.url}/health")
        reasons += [chunk.choices[0].finish_reason for chunk in stream]
        closing.join()
    assert reasons[-1] == "length" and not daemon.model.alive


def test_a_drain_has_an_end() -> None:
    daemon = Daemon(options(drain_seconds=1))
    daemon.model.engine._executor.delay = 0.05  # type: ignore[attr-defined]
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="x", max_retries=0) as client:
        stream = client.completions.create(
            model="toy", prompt="a", max_tokens=390, stream=True, extra_body={"ignore_eos": True}
        )
        next(iter(stream))
        started = time.monotonic()
        daemon.close()
        assert time.monotonic() - started < 5
        with pytest.raises(openai.APIError, match="shutting down"):
            list(stream)
    assert not daemon.model.alive


def test_a_busy_port_is_one_message() -> None:
    with bind(options()) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(IngotError, match=f"127.0.0.1:{port}: cannot be bound") as caught:
            bind(ServerOptions(port=port))
        assert caught.value.exit_code == 1


def test_the_model_is_closed_with_the_daemon() -> None:
    toy = make_toy(vocab_size=261)
    daemon = Daemon(options(), executor=toy)
    daemon.close()
    assert toy.closed and isinstance(daemon.model, LLM)
