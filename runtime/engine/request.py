"""A request as the scheduler sees it: lengths, and the arithmetic between them.

tokens:   | prompt … | output … |
computed: |########......|            entries in the KV cache
pending:           |.....|            to be run before the next token can be sampled
pages:    |####|####|####|            room in the KV cache, ≥ computed
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ingot.runtime.sampling import SamplingParams

from .outputs import FinishReason, Sink
from .pages import ROOT_HASH, PageHash, page_hash


class TextSink(Protocol):
    """Turns tokens into text as they come, and knows the stop strings."""

    def push(self, token_id: int) -> tuple[str, bool]:
        """Return the text that may be shown now, and whether a stop string ended it."""
        ...

    def flush(self) -> str:
        """Return what was held back; called once, at an end that is no stop string."""
        ...


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """One sequence from its arrival to its end.

    Invariants: 0 ≤ num_computed < len(tokens) while it can run, and its pages cover what is
    computed.
    """

    request_id: int
    tokens: list[int]
    """The prompt, then the output."""
    params: SamplingParams
    sink: Sink
    max_length: int
    """The most tokens, prompt and output together."""
    seed: int
    end_ids: frozenset[int] = frozenset()
    """Tokens that end the output."""
    text: TextSink | None = None
    logits: NDArray[np.float32] | None = None
    """`[prompt, vocab]`: where to write the logits of every position; nothing is then sampled."""
    chunk: int | None = None
    """The most tokens of it in one step; `None`: as many as fit."""
    row: NDArray[np.float32] | None = None
    """`[row_width]`: where to write what a model that pools makes of it, all in one step."""
    token_types: Sequence[int] = ()
    """The segment of each token; empty: all 0."""

    eager: bool = True
    """Whether its owner waits for each token; otherwise many may come at a time."""

    num_prompt: int = field(init=False)
    num_computed: int = 0
    num_cached: int = 0
    """Tokens whose KV entries were found when it was first admitted."""
    pages: list[int] = field(default_factory=list)
    group: int = 0
    """The data group that its pages lie in, while it runs."""
    state_slot: int = 0
    """Where the model's state of it is held while it runs, if the model has one."""
    hashes: list[PageHash] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    num_preemptions: int = 0
    sampler_state: object | None = None
    """What the sampler keeps about it, if anything."""
    arrival_time: float = field(default_factory=time.monotonic)
    start_time: float = 0.0
    """When it was first admitted."""
    token_time: float = 0.0
    """When its last token was sampled."""

    def __post_init__(self) -> None:
        self.num_prompt = len(self.tokens)
        assert 0 < self.num_prompt <= self.max_length
        assert self.scores or self.whole or self.num_prompt < self.max_length
        assert self.chunk is None or self.chunk > 0

    @property
    def scores(self) -> bool:
        """Whether it wants the logits of its prompt instead of an output."""
        return self.logits is not None

    @property
    def whole(self) -> bool:
        """Whether it runs in one step, for one row."""
        return self.row is not None

    @property
    def num_output(self) -> int:
        """Tokens generated."""
        return len(self.tokens) - self.num_prompt

    @property
    def num_pending(self) -> int:
        """Tokens to run before the next one can be sampled."""
        return len(self.tokens) - self.num_computed

    @property
    def output(self) -> Sequence[int]:
        """The tokens generated."""
        return self.tokens[self.num_prompt :]

    def next_count(self, budget: int) -> int:
        """How many tokens to run in a step that has room for `budget`."""
        if self.whole:
            return self.num_pending if self.num_pending <= budget else 0
        return min(self.num_pending, budget, self.chunk or budget)

    def page_hash(self, index: int, page_tokens: int) -> PageHash:
        """The hash of its full page number `index`; computes the chain up to there."""
        assert (index + 1) * page_tokens <= len(self.tokens)
        for page in range(len(self.hashes), index + 1):
            previous = self.hashes[-1] if self.hashes else ROOT_HASH
            start = page * page_tokens
            self.hashes.append(page_hash(previous, self.tokens[start : start + page_tokens]))
        return self.hashes[index]

    def check(self, page_tokens: int) -> None:
        """Assert the invariants."""
        assert 0 <= self.num_computed <= len(self.tokens) <= self.max_length
        assert len(self.pages) * page_tokens >= self.num_computed
