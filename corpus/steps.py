"""Runs sequences through an executor: several in a step, one in chunks, then token by token."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingot.runtime.executor import Executor, Limits, StepBatch

DECODED = 6
PAGES = 16
"""Pages that each sequence may have."""


@dataclass
class Run:
    """A sequence: its tokens, those chosen among them, and the logits found at each position."""

    tokens: list[int]
    prompt: int
    pages: list[int]
    done: int = 0
    logits: dict[int, NDArray[np.float32]] = field(default_factory=dict)


SCHEDULE: Sequence[Sequence[int]] = (
    (29, 33, 5, 0),
    (24, 1, 1, 1),
    (17, 1, 1, 1),
    *[(1, 1, 1, 1)] * DECODED,
)
"""Tokens of each sequence in each step: the first is prefilled in three chunks, beside others."""
PROMPTS = (70, 33, 5, 1)


def run_schedule(executor: Executor, vocabulary: int, seed: int = 0) -> list[Run]:
    """Return the sequences with logits at every position; what follows the prompts is greedy."""
    generator = np.random.default_rng(seed)
    runs = [
        Run(
            tokens=[int(t) for t in generator.integers(3, vocabulary, length)],
            prompt=length,
            pages=_pages(number, executor.limits),
        )
        for number, length in enumerate(PROMPTS)
    ]
    for counts in SCHEDULE:
        _step(executor, runs, counts)
    return runs


def _pages(number: int, limits: Limits) -> list[int]:
    """Return the pages of a sequence, neither in order nor beside each other.

    Where sequences are divided among groups of devices, those of its group.
    """
    group, place = number % limits.data_groups, number // limits.data_groups
    apart = -(-len(PROMPTS) // limits.data_groups)
    first = group * (limits.num_pages // limits.data_groups) + place
    return [first + page * apart for page in reversed(range(PAGES))]


def _step(executor: Executor, runs: list[Run], counts: Sequence[int]) -> None:
    taking = [(number, count) for number, count in enumerate(counts) if count]
    tokens: list[int] = []
    positions: list[int] = []
    for number, count in taking:
        run = runs[number]
        tokens += run.tokens[run.done : run.done + count]
        positions += range(run.done, run.done + count)
    starts = np.cumsum([0, *(count for _, count in taking)])
    batch = StepBatch(
        token_ids=np.array(tokens, dtype=np.int32),
        positions=np.array(positions, dtype=np.int32),
        starts=starts.astype(np.int32),
        block_tables=np.array([runs[number].pages for number, _ in taking], dtype=np.int32),
        row_ids=np.arange(len(tokens), dtype=np.int32),
        # Slots of states neither in order nor from 0.
        state_slots=np.array([len(runs) - number for number, _ in taking], dtype=np.int32),
    )
    logits = executor.step(batch)
    for (number, count), start in zip(taking, starts, strict=False):
        run = runs[number]
        for place in range(count):
            run.logits[run.done + place] = np.array(logits[start + place])
        run.done += count
        if run.done == len(run.tokens):
            run.tokens.append(int(run.logits[run.done - 1].argmax()))
