"""A model that gives one row a text: embeddings, scores of pairs, classes.

Preparing texts, submitting them and shaping rows are apart, so that the daemon does the same
without waiting in between.
"""

import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingot.errors import RequestError

from .engine import Engine, EngineOptions, Sink
from .pooled_head import PooledHead
from .text import ModelText
from .text.pooled_text import PooledText, Tokens, with_prompt
from .waiting import News, cancelling, collect

Rows = NDArray[np.float32]
PAGE_TOKENS = 16
Text = str | Sequence[int]

QUERY_PROMPTS = ("query",)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""The prompts that sentence-transformers looks for on either side of a search, in this order."""


@dataclass(frozen=True)
class Comparison:
    """What to run to compare pairs of texts, and how the rows of that become their scores."""

    sequences: list[Tokens]
    scores: Callable[[Rows], Rows]


class Pooled:
    """The pooled side of a model; all methods may be called from any thread."""

    def __init__(self, engine: Engine, head: PooledHead, text: ModelText) -> None:
        self.head = head
        self.max_tokens = min(head.max_tokens, engine.longest_whole)
        self._engine, self._text = engine, text
        self._encoder: PooledText | None = None
        if text.tokenizer is not None:
            self._encoder = PooledText(text.tokenizer, self.max_tokens, lower_case=head.lower_case)

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self._engine.limits.row_width

    def texts(self, texts: Sequence[Text], prompt_name: str | None = None) -> list[Tokens]:
        """Return the tokens of texts, which are cut to the limit, or of token ids, as they are."""
        encoded = iter(self._encode([one for one in texts if isinstance(one, str)], prompt_name))
        return [
            next(encoded) if isinstance(one, str) else Tokens(list(self._text.encode(one)), [])
            for one in texts
        ]

    def comparison(self, queries: Sequence[str], documents: Sequence[str]) -> "Comparison":
        """Return how to score each query with the document of its index; raises RequestError.

        A model that classifies reads each pair as one sequence.  One that embeds is given every
        query and document once, with its prompt if there is one.
        """
        if self.head.task == "embed":
            return self._similarity(queries, documents)
        self.require("classify")
        if self.width != 1:
            raise RequestError(
                f"the model tells {self.width} classes apart, and gives no score of a pair",
                where="model",
                hint="Use classify.",
            )
        pairs = list(zip(queries, documents, strict=True))
        return Comparison(self._tokenizer().encode_pairs(pairs), lambda rows: rows[:, 0])

    def _similarity(self, queries: Sequence[str], documents: Sequence[str]) -> "Comparison":
        known = self.head.prompts
        query = next((name for name in QUERY_PROMPTS if name in known), None)
        document = next((name for name in DOCUMENT_PROMPTS if name in known), None)
        first, second = list(dict.fromkeys(queries)), list(dict.fromkeys(documents))
        sequences = self._encode(first, query) + self._encode(second, document)
        left = [first.index(one) for one in queries]
        right = [len(first) + second.index(one) for one in documents]
        compare = _SIMILARITIES[self.head.similarity]
        return Comparison(sequences, lambda rows: compare(rows[left], rows[right]))

    def submit(self, tokens: Tokens, row: Rows, sink: Sink) -> int:
        """Queue one sequence; its result is in `row` when `sink` hears of the end."""
        types = tokens.types if self._engine.limits.token_types else ()
        return self._engine.submit_whole(tokens.ids, row, sink, types)

    def run(self, sequences: Sequence[Tokens]) -> Rows:
        """Return the rows of several sequences `[sequences, width]`."""
        rows = np.empty((len(sequences), self.width), np.float32)
        news: News = queue.SimpleQueue()
        numbers: list[int] = []
        with cancelling(self._engine.cancel, numbers):
            for tokens, row in zip(sequences, rows, strict=True):
                numbers.append(self.submit(tokens, row, news.put))
            collect(news, numbers)
        return rows

    def shorten(self, rows: Rows, dimensions: int | None) -> Rows:
        """Return embeddings of the first `dimensions` numbers, of length 1 again where they were.

        For models that were trained so (Kusupati et al., 2022, Matryoshka).
        """
        self.check_dimensions(dimensions)
        if dimensions is None or dimensions == self.width:
            return rows
        short = rows[:, :dimensions]
        return _unit(short) if self.head.normalized else np.ascontiguousarray(short)

    def check_dimensions(self, dimensions: int | None) -> None:
        """Raise RequestError for more dimensions than the model gives, or none."""
        if dimensions is not None and not 1 <= dimensions <= self.width:
            raise RequestError(
                f"{dimensions} is not possible",
                where="dimensions",
                hint=f"Give 1 to {self.width}.",
            )

    def require(self, task: str) -> None:
        """Raise RequestError unless the model was made for `task`."""
        if self.head.task != task:
            raise RequestError(
                f"this model is for the task {self.head.task}, not {task}",
                where="model",
                hint=_HINTS[self.head.task],
            )

    def _encode(self, texts: Sequence[str], prompt_name: str | None) -> list[Tokens]:
        if not texts:
            return []
        head = self.head
        prompted = with_prompt(texts, head.prompts, prompt_name, head.default_prompt)
        if prompted != list(texts) and not head.include_prompt:
            raise RequestError(
                "the model leaves prompts out of its pooling, which is not supported",
                where="prompt_name",
                hint="Use a model that pools them, or no prompt.",
            )
        return self._tokenizer().encode(prompted)

    def _tokenizer(self) -> PooledText:
        if self._encoder is None:
            self._text.require_tokenizer()
        assert self._encoder is not None
        return self._encoder


_HINTS = {
    "embed": "It makes embeddings: use embed, or /v1/embeddings.",
    "classify": "It scores texts: use score or classify, or /v1/score and /v1/rerank.",
}


def _unit(rows: Rows) -> Rows:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float32)


def _cosine(a: Rows, b: Rows) -> Rows:
    return _dot(_unit(a), _unit(b))


def _dot(a: Rows, b: Rows) -> Rows:
    return np.asarray(np.einsum("rw,rw->r", a, b), dtype=np.float32)


def _euclidean(a: Rows, b: Rows) -> Rows:
    return np.asarray(-np.linalg.norm(a - b, axis=1), dtype=np.float32)


def _manhattan(a: Rows, b: Rows) -> Rows:
    return np.asarray(-np.abs(a - b).sum(axis=1), dtype=np.float32)


_SIMILARITIES: Mapping[str, Callable[[Rows, Rows], Rows]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}


LONGEST = 8192
"""Tokens for which a model that pools has room by default, as its texts run in one step."""


def room_for(head: PooledHead, options: EngineOptions) -> dict[str, int]:
    """Return how large the executor of such a model is to be.

    Its longest text must fit a step, and keys and values are needed for one step alone.
    """
    longest = min(head.max_tokens, options.max_length or LONGEST)
    step = max(512, longest)
    return {"max_step_tokens": step, "kv_pages": step // PAGE_TOKENS + options.max_running + 1}
