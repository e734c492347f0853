"""A small exact model on numpy that keeps its context in KV pages, so that paging errors show."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as RustTokenizer

from ingot.runtime.engine import Engine, EngineOptions, Output, Request, Sampled, TokenLogprob
from ingot.runtime.executor import Limits, StepBatch
from ingot.runtime.llm import LLM
from ingot.runtime.sampling import SamplingParams
from ingot.runtime.text import ChatTemplate, GenerationDefaults, ModelText, Tokenizer

PRIME = 1_000_003
Generate = Callable[..., list[list[Output]]]


class ToyExecutor:
    """Two layers of integer sums over the cached context, modulo a prime: exact in any order.

    The entry that a token leaves in the cache depends on everything before it; so a page that is
    missing, stale, or another sequence's changes every later logit.  A page is garbage at first.
    """

    def __init__(self, limits: Limits, fails: Callable[[StepBatch], bool] | None = None) -> None:
        self.limits = limits
        self.num_steps = 0
        self.num_tokens = 0
        self.closed = False
        self.delay = 0.0
        self._fails = fails
        slots = limits.num_pages * limits.page_tokens
        self._cache = np.random.default_rng(1).integers(0, PRIME, (2, slots), dtype=np.int64)

    def step(self, batch: StepBatch) -> NDArray[np.float32]:
        assert not self.closed
        time.sleep(self.delay)
        self._check(batch)
        self.num_steps += 1
        self.num_tokens += len(batch.token_ids)
        if self._fails is not None and self._fails(batch):
            raise RuntimeError("out of luck")
        states = [self._sequence(batch, row) for row in range(len(batch.starts) - 1)]
        rows = np.concatenate(states)[batch.row_ids]
        factors = np.arange(1, self.limits.vocab_size + 1, dtype=np.int64) * 7919
        logits = (rows[:, None] * factors + rows[:, None] // 3) % 1009
        return (logits / np.float32(100)).astype(np.float32)

    def close(self) -> None:
        self.closed = True

    def _sequence(self, batch: StepBatch, row: int) -> NDArray[np.int64]:
        """Write the entries of the tokens of one sequence; return the state at each of them."""
        begin, end = batch.starts[row], batch.starts[row + 1]
        tokens = batch.token_ids[begin:end].astype(np.int64)
        positions = batch.positions[begin:end].astype(np.int64)
        size = self.limits.page_tokens
        length = int(positions[-1]) + 1
        everything = np.arange(length)
        slots = batch.block_tables[row][everything // size].astype(np.int64) * size
        slots += everything % size
        states = (tokens * 31337 + positions * 101 + 7) % PRIME
        for layer in range(2):
            self._cache[layer, slots[positions]] = states
            context = self._cache[layer, slots]
            weighted = np.cumsum(context * (everything * 13 + 1) % PRIME) % PRIME
            states = (weighted[positions] * 17 + states) % PRIME
        return states

    def _check(self, batch: StepBatch) -> None:
        limits = self.limits
        for array in (batch.token_ids, batch.positions, batch.starts, batch.row_ids):
            assert array.dtype == np.int32 and array.ndim == 1
        assert batch.block_tables.dtype == np.int32
        assert 0 < len(batch.token_ids) <= limits.max_step_tokens
        assert (batch.token_ids >= 0).all() and (batch.token_ids < limits.vocab_size).all()
        assert (batch.positions >= 0).all() and (batch.positions < limits.max_positions).all()
        assert (batch.block_tables >= 0).all() and (batch.block_tables < limits.num_pages).all()
        assert batch.starts[0] == 0 and batch.starts[-1] == len(batch.token_ids)
        assert (np.diff(batch.starts) > 0).all() and (np.diff(batch.row_ids) > 0).all()
        per_group = limits.num_pages // limits.data_groups
        written: set[tuple[int, int]] = set()
        for row in range(len(batch.starts) - 1):
            positions = batch.positions[batch.starts[row] : batch.starts[row + 1]]
            assert (np.diff(positions) == 1).all()
            pages = batch.block_tables[row, : positions[-1] // limits.page_tokens + 1]
            assert len(set((pages // per_group).tolist())) == 1, "pages of two groups"
            for position in positions.tolist():
                page, place = divmod(position, limits.page_tokens)
                slot = (int(batch.block_tables[row, page]), place)
                assert slot not in written, "two tokens in one place"
                written.add(slot)


class NumpySampler:
    """Bias, penalties, temperature and a seeded draw; an oracle that reads like the definition."""

    def sample(self, logits: NDArray[np.float32], requests: Sequence[Request]) -> list[Sampled]:
        assert logits.shape[0] == len(requests)
        return [self._one(row, request) for row, request in zip(logits, requests, strict=True)]

    def _one(self, logits: NDArray[np.float32], request: Request) -> Sampled:
        params = request.params
        if not np.isfinite(logits).all():
            raise ValueError("the logits are not finite")
        row = logits.astype(np.float64)
        logprobs = row - np.log(np.exp(row - row.max()).sum()) - row.max()
        for token, bias in params.logit_bias.items():
            row[token] += bias
        seen = np.unique(request.tokens)
        factor = params.repetition_penalty
        row[seen] = np.where(row[seen] > 0, row[seen] / factor, row[seen] * factor)
        for token in request.output:
            row[token] -= params.frequency_penalty
        row[np.unique(request.output).astype(int)] -= params.presence_penalty
        if not params.greedy:
            draw = np.random.default_rng([request.seed, request.num_output]).gumbel(size=len(row))
            row = row / params.temperature + draw
        token_id = int(np.argmax(row))
        if params.logprobs is None:
            return Sampled(token_id)
        best = np.argsort(-logprobs, kind="stable")[: params.logprobs].tolist()
        top = tuple((index, float(logprobs[index])) for index in best)
        return Sampled(token_id, TokenLogprob(token_id, float(logprobs[token_id]), top))


def toy_limits(**changes: int) -> Limits:
    values = {
        "vocab_size": 97,
        "max_positions": 200,
        "page_tokens": 16,
        "num_pages": 64,
        "max_step_tokens": 64,
    }
    return Limits(**(values | changes))


def make_toy(**changes: int) -> ToyExecutor:
    return ToyExecutor(toy_limits(**changes))


@dataclass
class Client:
    """An engine driven by hand, and what it said to each request."""

    engine: Engine
    outputs: dict[int, list[Output]] = field(default_factory=dict)

    def submit(self, prompt: Sequence[int], params: SamplingParams, **options: object) -> int:
        news: list[Output] = []
        number = self.engine.submit(prompt, params, news.append, **options)  # type: ignore[arg-type]
        self.outputs[number] = news
        return number

    def score(self, prompt: Sequence[int], chunk: int | None = None) -> NDArray[np.float32]:
        logits = np.full((len(prompt), self.engine.limits.vocab_size), np.nan, np.float32)
        self.engine.submit_scoring(prompt, logits, lambda output: None, chunk=chunk)
        return logits

    def run(self) -> None:
        while self.engine.step():
            self.engine.scheduler.check()
        self.engine.scheduler.check()
        assert self.engine.scheduler.pool.num_held == 0

    def tokens(self, number: int) -> list[int]:
        return [token for output in self.outputs[number] for token in output.token_ids]

    def last(self, number: int) -> Output:
        return self.outputs[number][-1]


@pytest.fixture(scope="session")
def make_client() -> Callable[..., Client]:
    """`make_client(executor=…, options…, limits…)`: an engine on the toy model, driven by hand."""

    def make(
        executor: ToyExecutor | None = None,
        options: EngineOptions | None = None,
        **limits: int,
    ) -> Client:
        return Client(Engine(executor or make_toy(**limits), NumpySampler(), options))

    return make


def byte_level() -> Tokenizer:
    """One token a byte, a few merges: characters of several bytes are spread over tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: index for index, symbol in enumerate(alphabet)}
    merges = [("l", "l"), ("Ġ", "w"), ("ð", "Ł")]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    backend = RustTokenizer(models.BPE(vocab=vocab, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<s>", special=True), AddedToken("</s>", special=True)])
    return Tokenizer(backend, {"eos_token": "</s>"})


def sentence_piece() -> Tokenizer:
    """Spaces as ▁, unknown characters as bytes, the leading space stripped."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    vocab |= {f"<0x{byte:02X}>": byte + 3 for byte in range(256)}
    for symbol in "▁abcdefghijklmnopqrstuvwxyzH,.!":
        vocab[symbol] = len(vocab)
    vocab["▁w"] = len(vocab)
    backend = RustTokenizer(
        models.BPE(vocab=vocab, merges=[("▁", "w")], unk_token="<unk>", byte_fallback=True)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    backend.add_special_tokens(["<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return Tokenizer(backend, {"bos_token": "<s>", "eos_token": "</s>"})


CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'bad' %}"
    "{{ raise_exception('unknown role') }}{% endif %}"
    "<s>{{ message.role }}\n{{ message.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def toy_text() -> ModelText:
    tokenizer = byte_level()
    assert tokenizer.eos_id is not None
    defaults = GenerationDefaults(
        frozenset([tokenizer.eos_id]), SamplingParams(max_tokens=None, temperature=0)
    )
    return ModelText(tokenizer, ChatTemplate(CHAT_TEMPLATE), defaults)


def toy_llm(**options: Any) -> LLM:
    """The toy model behind a byte-level tokenizer; greedy unless asked otherwise."""
    text = toy_text()
    assert text.tokenizer is not None
    executor = options.pop("executor", None) or make_toy(
        vocab_size=text.tokenizer.vocab_size, max_positions=400, num_pages=100
    )
    return LLM.from_executor(executor, text, name="toy", **options)
