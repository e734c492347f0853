"""A step of the engine as runs of compiled steps, whose sizes are fixed.

A batch runs as the smallest compiled step that holds it, padded.  One that no step holds is split:
by sequences, and a sequence by its tokens, in their order, so that what its later tokens attend to
is in the KV cache before they run.  Every data group takes part in every run, with or without work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ingot.runtime.executor import Int32Array, StepBatch

from .plan import Step, XlaPlan

RUN_COST = 64
"""Tokens that cost as much as the weights, which every run reads once."""


@dataclass(frozen=True)
class Piece:
    """`count` tokens of a sequence: its number in the batch, and where in the batch they begin."""

    sequence: int
    begin: int
    count: int

    @property
    def end(self) -> int:
        """Behind its last token."""
        return self.begin + self.count


Work = tuple[Piece, ...]


@dataclass(frozen=True)
class Run:
    """One run of a compiled step, and the work of each data group in it."""

    step: Step
    works: tuple[Work, ...]


def split_batch(batch: StepBatch, plan: XlaPlan) -> list[Run]:
    """Return the runs that make up a batch; raises ValueError where no step holds a sequence."""
    steps = sorted(plan.steps, key=lambda s: (s.tokens, not s.decode, s.rows, s.blocks))
    runs: list[Run] = []
    works = _by_group(batch, plan)
    while any(works):
        filled = [(step, [_fill(step, batch, plan, work) for work in works]) for step in steps]
        whole = (one for one in filled if not any(rest for _, rest in one[1]))
        step, parts = next(whole, None) or max(filled, key=_worth)
        if not any(taken for taken, _ in parts):
            raise ValueError(f"no compiled step holds a sequence of {_longest(batch)} tokens")
        runs.append(Run(step, tuple(taken for taken, _ in parts)))
        works = [rest for _, rest in parts]
    return runs


def step_inputs(batch: StepBatch, run: Run, plan: XlaPlan, group: int, cp: int) -> list[Int32Array]:
    """Return what a device is given, in the order of a program's arguments.

    These are token_ids, positions, sequence_ids, slots, block_tables, starts, lengths,
    num_sequences and rows.  `group` is the device's data group, `cp` its coordinate on that axis.
    """
    step, work = run.step, run.works[group]
    tokens = _indices(work)
    positions = batch.positions[tokens]
    tables = np.zeros((step.sequences, step.blocks), np.int32)
    sequence_ids = np.full(step.tokens, step.sequences - 1, np.int32)
    if step.decode:
        sequence_ids = np.arange(step.tokens, dtype=np.int32)
    starts = np.full(step.sequences + 1, len(tokens), np.int32)
    lengths = np.zeros(step.sequences, np.int32)
    begin = 0
    for row, piece in enumerate(work):
        starts[row] = begin
        sequence_ids[begin : begin + piece.count] = row
        begin += piece.count
        lengths[row] = batch.positions[piece.end - 1] + 1
        blocks = _blocks(int(lengths[row]), plan)
        pages = batch.block_tables[piece.sequence, :blocks]
        tables[row, :blocks] = pages - group * plan.pages_per_group
    slots = _slots(tables[sequence_ids[: len(tokens)]], positions, plan, cp)
    return [
        _pad(batch.token_ids[tokens], step.tokens),
        _pad(positions, step.tokens),
        sequence_ids,
        _pad(slots, step.tokens, -1),
        tables,
        starts,
        lengths,
        np.array([len(work)], np.int32),
        _pad(wanted_rows(batch, work)[0], step.rows),
    ]


def wanted_rows(batch: StepBatch, work: Work) -> tuple[Int32Array, Int32Array]:
    """Return which tokens of the work want logits, and which rows of the batch's result these are.

    Both are ascending within a sequence: the i-th row of the run is the i-th of the second array.
    """
    inside, outside = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    begin = 0
    for piece in work:
        first, last = np.searchsorted(batch.row_ids, [piece.begin, piece.end])
        inside.append(batch.row_ids[first:last] - piece.begin + begin)
        outside.append(np.arange(first, last, dtype=np.int32))
        begin += piece.count
    return np.concatenate(inside), np.concatenate(outside)


def _by_group(batch: StepBatch, plan: XlaPlan) -> list[Work]:
    works: list[list[Piece]] = [[] for _ in range(plan.mesh.data_groups)]
    starts = batch.starts.tolist()
    for sequence, (begin, end) in enumerate(pairwise(starts)):
        group = int(batch.block_tables[sequence, 0]) // plan.pages_per_group
        works[group].append(Piece(sequence, begin, end - begin))
    return [tuple(work) for work in works]


def _fill(step: Step, batch: StepBatch, plan: XlaPlan, work: Work) -> tuple[Work, Work]:
    """Return what a step takes of a group's work, in order, and what is left."""
    taken: list[Piece] = []
    rest: list[Piece] = []
    tokens, rows = step.tokens, step.rows
    for piece in work:
        count = 0
        if len(taken) < step.sequences:
            most = min(piece.count, 1 if step.decode else tokens)
            most = min(most, _tokens_in_blocks(step, batch, plan, piece))
            count = _tokens_in_rows(batch, piece, most, rows)
        if count > 0:
            part = Piece(piece.sequence, piece.begin, count)
            taken.append(part)
            tokens -= count
            rows -= _count_rows(batch, part)
        if count < piece.count:
            rest.append(Piece(piece.sequence, piece.begin + count, piece.count - count))
    return tuple(taken), tuple(rest)


def _tokens_in_blocks(step: Step, batch: StepBatch, plan: XlaPlan, piece: Piece) -> int:
    return max(0, step.blocks * plan.page_tokens - int(batch.positions[piece.begin]))


def _tokens_in_rows(batch: StepBatch, piece: Piece, most: int, rows: int) -> int:
    """How many of the first `most` tokens want at most `rows` rows."""
    first = int(np.searchsorted(batch.row_ids, piece.begin))
    if first + rows >= len(batch.row_ids):
        return most
    return min(most, int(batch.row_ids[first + rows]) - piece.begin)


def _count_rows(batch: StepBatch, piece: Piece) -> int:
    first, last = np.searchsorted(batch.row_ids, [piece.begin, piece.end])
    return int(last - first)


def _worth(filled: tuple[Step, Sequence[tuple[Work, Work]]]) -> float:
    """Tokens that a run of a step gets done, for what it costs."""
    step, parts = filled
    done = sum(piece.count for taken, _ in parts for piece in taken)
    return done / (RUN_COST + step.tokens)


def _longest(batch: StepBatch) -> int:
    return int(batch.positions.max()) + 1


def _blocks(length: int, plan: XlaPlan) -> int:
    return -(-length // plan.page_tokens)


def _indices(work: Work) -> Int32Array:
    ranges = [np.arange(piece.begin, piece.end, dtype=np.int32) for piece in work]
    return np.concatenate([np.zeros(0, np.int32), *ranges])


def _slots(tables: Int32Array, positions: Int32Array, plan: XlaPlan, cp: int) -> Int32Array:
    """Where each token's keys and values go on this device; -1: another one keeps them.

    The devices along cp share a page: each keeps `page_tokens / cp` consecutive tokens of it.
    """
    kept = plan.page_tokens // plan.mesh.size("cp")
    page, place = np.divmod(positions, plan.page_tokens)
    owner, place = np.divmod(place, kept)
    pages = tables[np.arange(len(positions)), page]
    return np.where(owner == cp, pages * kept + place, -1).astype(np.int32)


def _pad(values: Int32Array, size: int, filler: int = 0) -> Int32Array:
    padded = np.full(size, filler, np.int32)
    padded[: len(values)] = values
    return padded
