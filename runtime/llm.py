"""A compiled model in this process: text or tokens in; completions, streams, logits or rows out.

    with LLM("smollm2.ingot") as model:
        [completion] = model.generate("The capital of France is", SamplingParams(max_tokens=8))

All methods may be called from any thread; the requests of all callers share the engine's steps.
"""

import queue
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from ingot.errors import RequestError

from .artifact import Artifact
from .engine import (
    Engine,
    EngineOptions,
    EngineThread,
    Observer,
    Output,
    Sampler,
    Sink,
    TokenLogprob,
)
from .engine.bursts import Bursts
from .engine.native_sampler import NativeSampler
from .executor import DecodingExecutor, Executor
from .executors import open_executor
from .pooled import Pooled, Text, room_for
from .pooled_head import PooledHead
from .sampling import SamplingParams
from .text import Message, ModelText, Prompt
from .waiting import News, cancelling, collect, raise_failure

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Completion:
    """What a model made of one prompt."""

    text: str
    """The output without end tokens and stop strings; empty where there is no tokenizer."""
    token_ids: list[int]
    """All tokens generated, an end token included."""
    finish_reason: str
    """`stop`: an end token or a stop string; `length`: `max_tokens`, or the context is full."""
    logprobs: list[TokenLogprob] | None
    """One a token, where they were asked for."""
    prompt_token_ids: list[int]
    num_cached_tokens: int = 0
    """Tokens of the prompt that an earlier request had already computed."""


class LLM:
    """A model on an executor, with an engine in a thread of its own.

    `LLM(path)` opens an artifact, `LLM.from_executor` takes any executor.  Close it, or use it in a
    `with` statement.
    """

    def __init__(
        self,
        path: str | Path,
        threads: int | None = None,
        *,
        options: EngineOptions | None = None,
        observer: Observer | None = None,
        **executor_options: Any,
    ) -> None:
        """Load the artifact in the folder `path`, on `threads` threads (`None`: all cores).

        `executor_options` are those of the target's executor; of `NativeExecutor`:
        `max_step_tokens`, `kv_pages`, `kv_memory`.  Raises `ArtifactError` where the artifact is
        missing, damaged, or not for this machine.
        """
        folder = Path(path)
        artifact = Artifact.open(folder)
        head = PooledHead.from_manifest(artifact.manifest, where=str(folder))
        if head is not None:
            executor_options = {**room_for(head, options or EngineOptions()), **executor_options}
        # The tokenizer is read while the executor waits for the weights.
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(ModelText.from_folder, folder)
            executor = open_executor(artifact, threads=threads, **executor_options)
        try:
            text = reading.result()
        except BaseException:
            executor.close()
            raise
        name = folder.name.removesuffix(".ingot")
        self._start(executor, text, None, options, observer, name, head)

    @classmethod
    def from_executor(
        cls,
        executor: Executor,
        text: ModelText | None = None,
        *,
        sampler: Sampler | None = None,
        options: EngineOptions | None = None,
        observer: Observer | None = None,
        name: str = "model",
        head: PooledHead | None = None,
    ) -> Self:
        """Use a model that is on a device already; the LLM owns the executor from here on.

        `sampler` is the native one unless another is given; `head` belongs to a model that gives
        rows instead of logits.
        """
        model = cls.__new__(cls)
        model._start(executor, text or ModelText(), sampler, options, observer, name, head)
        return model

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
    ) -> list[Completion]:
        """Complete one prompt or several, each a text or token ids, as one batch.

        `params`: for all, or one for each; `None`: the model's own (`default_params`).  Returns one
        completion a prompt, in their order.
        """
        return self._complete([self.text.encode(prompt) for prompt in _as_prompts(prompts)], params)

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[Completion]:
        """Answer one conversation, or several; messages are `{"role": …, "content": …}`."""
        single = bool(messages) and isinstance(messages[0], Mapping)
        conversations: Any = [messages] if single else messages
        encoded = [self.text.encode_chat(each, tools=tools) for each in conversations]
        return self._complete(encoded, params)

    def stream(
        self, prompt: Prompt | Sequence[Message], params: SamplingParams | None = None
    ) -> Iterator[str]:
        """Yield the text of one completion as it comes; `prompt` may be a list of messages.

        Closing the iterator cancels the request.
        """
        tokens = self._encode_any(prompt)
        news: News = queue.SimpleQueue()
        number = self.submit(tokens, params or self.default_params, news.put)
        return self._read(number, news)

    @overload
    def logits(self, token_ids: Sequence[int], chunk: int | None = None) -> Float32Array: ...
    @overload
    def logits(
        self, token_ids: Sequence[Sequence[int]], chunk: int | None = None
    ) -> list[Float32Array]: ...
    def logits(
        self, token_ids: Sequence[int] | Sequence[Sequence[int]], chunk: int | None = None
    ) -> Float32Array | list[Float32Array]:
        """Return the logits `[tokens, vocab]` at every position; of several sequences, a list.

        Several sequences run as one batch.  `chunk`: the most tokens of a sequence in one step.
        """
        prompts = _as_prompts(token_ids)
        self.require("generate")
        results = self._score([self.text.encode(prompt) for prompt in prompts], chunk)
        return results[0] if _is_single(token_ids) else results

    def embed(
        self,
        texts: Text | Sequence[Text],
        *,
        prompt_name: str | None = None,
        dimensions: int | None = None,
    ) -> Float32Array:
        """Return the embeddings `[texts, dimensions]` of texts, or of lists of token ids.

        Texts are cut to the model's limit, as sentence-transformers does.  `prompt_name` names one
        of the model's prompts, which then stands before each text; `dimensions` keeps the first.
        """
        self.require("embed")
        rows = self.pooled.run(self.pooled.texts(_as_prompts(texts), prompt_name))
        return self.pooled.shorten(rows, dimensions)

    def score(self, query: str | Sequence[str], documents: Sequence[str]) -> Float32Array:
        """Return how well each document answers the query `[documents]`; higher is better.

        A model that classifies reads the pair as one text; one that embeds compares the two
        embeddings.  Several queries go with as many documents, one by one.
        """
        queries = [query] * len(documents) if isinstance(query, str) else list(query)
        if len(queries) != len(documents):
            raise RequestError(
                f"{len(queries)} queries for {len(documents)} documents",
                where="query",
                hint="Give one query, or one for each document.",
            )
        comparison = self.pooled.comparison(queries, documents)
        return comparison.scores(self.pooled.run(comparison.sequences))

    def classify(self, texts: Text | Sequence[Text]) -> Float32Array:
        """Return the scores `[texts, classes]` of texts, after the model's own activation."""
        self.require("classify")
        return self.pooled.run(self.pooled.texts(_as_prompts(texts)))

    @property
    def max_length(self) -> int:
        """The most tokens of a sequence: prompt and output, or a text that is not cut."""
        return self.engine.max_length if self._pooled is None else self._pooled.max_tokens

    @property
    def task(self) -> str:
        """What the model is for: generate, embed or classify."""
        return "generate" if self._pooled is None else self._pooled.head.task

    @property
    def pooled(self) -> Pooled:
        """The side of the model that gives a row a text; RequestError for one that generates."""
        if self._pooled is None:
            raise RequestError(
                "this model generates text; it makes no embeddings and no scores",
                where="model",
                hint="Use chat or completions, or compile a model that embeds.",
            )
        return self._pooled

    def require(self, task: str) -> None:
        """Raise RequestError unless the model was made for `task`."""
        if self._pooled is not None or task != "generate":
            self.pooled.require(task)

    @property
    def default_params(self) -> SamplingParams:
        """What the model's generation_config.json says."""
        return self.text.defaults.params

    def submit(
        self, tokens: Sequence[int], params: SamplingParams, sink: Sink, *, eager: bool = True
    ) -> int:
        """Queue a request; `sink` gets its news in the engine's thread.  For `cancel`: its number.

        Not `eager`: nobody looks at tokens as they come, so they may come many at a time.  Raises
        `RequestError`.
        """
        self.require("generate")
        return self.engine.submit(
            tokens,
            params,
            sink,
            end_ids=self.text.defaults.end_ids,
            make_text=lambda: self.text.stream(tokens, params.stop),
            eager=eager,
        )

    def cancel(self, number: int) -> None:
        """End a request early; nothing happens where it has ended."""
        self.engine.cancel(number)

    @property
    def alive(self) -> bool:
        """Whether requests are being answered."""
        return self._thread.alive

    def close(self) -> None:
        """Cancel what is running and release the device.  Idempotent."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(
        self,
        executor: Executor,
        text: ModelText,
        sampler: Sampler | None,
        options: EngineOptions | None,
        observer: Observer | None,
        name: str,
        head: PooledHead | None,
    ) -> None:
        sampler, bursts = sampler or NativeSampler(executor.limits.vocab_size), None
        if isinstance(sampler, NativeSampler) and isinstance(executor, DecodingExecutor):
            bursts = Bursts(executor, sampler)
        self.name, self.text = name, text
        self.engine = Engine(executor, sampler, options, observer, bursts)
        self._pooled = None if head is None else Pooled(self.engine, head, self.text)
        self._thread = EngineThread(self.engine)
        weakref.finalize(self, self._thread.close)  # before the interpreter ends, at the latest

    def _encode_any(self, prompt: Prompt | Sequence[Message]) -> list[int]:
        if not isinstance(prompt, str) and len(prompt) and isinstance(prompt[0], Mapping):
            return self.text.encode_chat(prompt)  # type: ignore[arg-type]
        return self.text.encode(prompt)  # type: ignore[arg-type]

    def _complete(
        self,
        prompts: list[list[int]],
        params: SamplingParams | Sequence[SamplingParams] | None,
    ) -> list[Completion]:
        if params is None or isinstance(params, SamplingParams):
            params = [params or self.default_params] * len(prompts)
        if len(params) != len(prompts):
            raise RequestError(
                f"{len(params)} parameters for {len(prompts)} prompts",
                where="params",
                hint="Give one for all, or one for each prompt.",
            )
        news: News = queue.SimpleQueue()
        numbers: list[int] = []
        with cancelling(self.cancel, numbers):
            for prompt, each in zip(prompts, params, strict=True):
                numbers.append(self.submit(prompt, each, news.put, eager=False))
            outputs = collect(news, numbers)
        return [
            _completion(prompt, each, outputs[number])
            for prompt, each, number in zip(prompts, params, numbers, strict=True)
        ]

    def _score(self, prompts: list[list[int]], chunk: int | None) -> list[Float32Array]:
        news: News = queue.SimpleQueue()
        vocab_size = self.engine.limits.vocab_size
        results = [np.empty((len(prompt), vocab_size), np.float32) for prompt in prompts]
        numbers: list[int] = []
        with cancelling(self.cancel, numbers):
            for prompt, result in zip(prompts, results, strict=True):
                numbers.append(self.engine.submit_scoring(prompt, result, news.put, chunk=chunk))
            collect(news, numbers)
        return results

    def _read(self, number: int, news: News) -> Iterator[str]:
        with cancelling(self.cancel, [number]):
            while True:
                output = news.get()
                raise_failure(output)
                if output.text:
                    yield output.text
                if output.finish_reason is not None:
                    return


def _completion(prompt: list[int], params: SamplingParams, outputs: list[Output]) -> Completion:
    last = outputs[-1]
    assert last.finish_reason is not None
    logprobs = [entry for output in outputs for entry in output.logprobs]
    return Completion(
        text="".join(output.text for output in outputs),
        token_ids=[token for output in outputs for token in output.token_ids],
        finish_reason=last.finish_reason.value,
        logprobs=None if params.logprobs is None else logprobs,
        prompt_token_ids=prompt,
        num_cached_tokens=last.num_cached_tokens,
    )


def _is_single(prompts: object) -> bool:
    """Whether it is one prompt: a text, or a sequence that does not begin with a prompt."""
    if isinstance(prompts, str):
        return True
    first = next(iter(prompts), None) if isinstance(prompts, Sequence | np.ndarray) else None
    return first is not None and not isinstance(first, str | Sequence | np.ndarray)


def _as_prompts(prompts: Any) -> list[Prompt]:
    return [prompts] if _is_single(prompts) else list(prompts)
