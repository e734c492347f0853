"""What the engine knows of a device: one step over many sequences, and the limits of it.

The sequences of a step are concatenated, so that one step serves prefill, decode and any mixture of
the two.  An executor owns the weights and the KV cache; the engine owns which page belongs to whom.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ._native import Decoded, SamplerState

Int32Array = NDArray[np.int32]


@dataclass(frozen=True)
class Limits:
    """What one executor can hold; every step must stay within it."""

    vocab_size: int
    max_positions: int
    """Positions the model was made for: every position of a step is below it."""
    page_tokens: int
    """Tokens in one page of the KV cache."""
    num_pages: int
    """Pages in the KV cache; page numbers are 0 … num_pages - 1."""
    max_step_tokens: int
    """Tokens in one step, over all its sequences; also the most rows of logits."""
    state_slots: int = 0
    """Sequences whose state is held at once, beside the KV cache; 0 for a model without state."""
    row_width: int = 0
    """Numbers in a row that a step returns for each sequence; 0 for a model that gives logits."""
    token_types: int = 0
    """Token types are below it; 0 for a model that does not read them."""
    data_groups: int = 1
    """Groups of devices with sequences of their own.

    The pages are in as many equal ranges, and all pages of a sequence lie in one of them.
    """

    @property
    def group_tokens(self) -> int:
        """Tokens of one data group in a step."""
        return -(-self.max_step_tokens // self.data_groups)

    @property
    def width(self) -> int:
        """Numbers in a row that a step returns."""
        return self.row_width or self.vocab_size


@dataclass(frozen=True)
class StepBatch:
    """One step, in int32 arrays: S sequences, T tokens altogether, R of which want logits.

    The tokens of a sequence have consecutive positions.  Whatever stands in the KV cache at lower
    positions of the sequence's pages is attended to; the step writes the entries of its own tokens.
    """

    token_ids: Int32Array
    """[T], each in 0 … vocab_size - 1."""
    positions: Int32Array
    """[T]."""
    starts: Int32Array
    """[S + 1]: where each sequence's tokens start in `token_ids`; starts[0] = 0, starts[S] = T."""
    block_tables: Int32Array
    """[S, blocks]: the pages of each sequence; covers positions up to its last token."""
    row_ids: Int32Array
    """[R]: indices into `token_ids` whose logits are wanted, ascending."""
    state_slots: Int32Array = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    """[S]: where each sequence's state is held; read only for a model with state.

    A sequence keeps its slot from step to step.  Its state starts from zero at position 0.
    """
    token_types: Int32Array = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    """[T]: the segment of each token, for a model that reads them; empty: all 0."""


class Executor(Protocol):
    """A device with a model on it.  Not thread-safe: one thread calls it at a time."""

    @property
    def limits(self) -> Limits:
        """What a step may hold."""
        ...

    def step(self, batch: StepBatch) -> NDArray[np.float32]:
        """Run one step and return logits `[R, vocab_size]`, valid until the next step.

        A model that pools returns a row for each sequence, `[S, row_width]`: its sequences are
        whole, and `row_ids` names the last token of each.

        Raises `ValueError` where the batch breaks a limit; nothing is written in that case.
        """
        ...

    def close(self) -> None:
        """Release memory and threads, the logits of the last step among them.  Idempotent."""
        ...


@dataclass(frozen=True)
class DecodeBatch:
    """Up to `steps` decode steps over S sequences, whose tokens are sampled in between.

    They end early after a step in which a sequence ends or sampling fails, after an interruption,
    and where the next would begin later than `seconds` after the first.
    """

    token_ids: Int32Array
    """[S]: the token of each sequence to run first."""
    positions: Int32Array
    """[S]: where those tokens stand."""
    block_tables: Int32Array
    """[S, blocks]: the pages of each sequence, as far as all steps need."""
    state_slots: Int32Array
    """[S], as in `StepBatch`."""
    end_ids: Sequence[Sequence[int]]
    """Of each sequence, the tokens that end it."""
    samplers: Sequence["SamplerState"]
    """Of each sequence; they observe the tokens."""
    steps: int
    seconds: float


@runtime_checkable
class DecodingExecutor(Executor, Protocol):
    """An executor that samples and goes on by itself."""

    def decode(self, batch: DecodeBatch) -> "Decoded":
        """Decode; raises `ValueError` as `step` does, and nothing sampled before is returned."""
        ...

    def interrupt(self, on: bool) -> None:
        """End a burst after its step while this is on; any thread may call it."""
        ...
