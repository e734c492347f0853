"""Bursts: decode steps on end in native code, where nothing between them needs Python.

A step's tokens go straight into the next step.  What only Python knows, such as stop strings, is
looked at when the burst is over; a request that has ended by then loses the tokens beyond its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingot.runtime.executor import DecodeBatch, DecodingExecutor

from .batch import block_tables
from .native_sampler import NativeSampler, sampled_of
from .request import Request
from .sampler import Sampled
from .scheduler import Piece, Scheduler

MAX_STEPS = 64
SECONDS, EAGER_SECONDS = 0.25, 0.015
"""No step of a burst begins later; the second, where somebody waits for each token."""


@dataclass(frozen=True)
class BurstStep:
    """The tokens of one step, by request, and when they were known (`time.monotonic`)."""

    time: float
    sampled: list[tuple[Request, Sampled | str]]
    """A text says why sampling failed."""


class Bursts:
    """Decodes on an executor that can do so on its own, with the native sampler."""

    def __init__(self, executor: DecodingExecutor, sampler: NativeSampler) -> None:
        self._executor, self._sampler = executor, sampler

    def interrupt(self) -> None:
        """End the burst after its step, as there is news; any thread may call it."""
        self._executor.interrupt(True)

    def listen(self) -> None:
        """From here on `interrupt` is heeded; called before news is looked at."""
        self._executor.interrupt(False)

    def plan(self, pieces: Sequence[Piece], scheduler: Scheduler) -> int:
        """Return how many steps the pieces may take on end; pages for those are held then."""
        if not all(piece.count == 1 and piece.samples for piece in pieces):
            return 1
        wanted = min(piece.request.max_length - len(piece.request.tokens) for piece in pieces)
        return scheduler.extend(pieces, min(MAX_STEPS, wanted))

    def run(self, pieces: Sequence[Piece], steps: int, page_tokens: int) -> list[BurstStep]:
        """Run up to `steps` steps."""
        requests = [piece.request for piece in pieces]
        whole = [Piece(piece.request, piece.start, steps) for piece in pieces]
        batch = DecodeBatch(
            token_ids=np.array([request.tokens[-1] for request in requests], dtype=np.int32),
            positions=np.array([piece.start for piece in pieces], dtype=np.int32),
            block_tables=block_tables(whole, page_tokens),
            state_slots=np.array([request.state_slot for request in requests], dtype=np.int32),
            end_ids=[list(request.end_ids) for request in requests],
            samplers=[self._sampler.state_of(request) for request in requests],
            steps=steps,
            seconds=EAGER_SECONDS if any(request.eager for request in requests) else SECONDS,
        )
        decoded = self._executor.decode(batch)
        rows: list[list[Sampled | str]] = [
            [sampled_of(item) for item in row] for row in decoded.steps
        ]
        rows[-1] = [error or item for error, item in zip(decoded.errors, rows[-1], strict=True)]
        return [
            BurstStep(time, list(zip(requests, row, strict=True)))
            for time, row in zip(decoded.times, rows, strict=True)
        ]
