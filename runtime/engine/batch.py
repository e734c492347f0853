"""The arrays of a step, from its pieces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingot.runtime.executor import StepBatch

from .request import Request
from .scheduler import Piece


@dataclass(frozen=True, slots=True)
class Step:
    """What the executor is given, and which of its rows are whose."""

    batch: StepBatch
    sample_rows: list[int]
    """Rows of logits to sample from."""
    sampled: list[Request]
    """The request of each of `sample_rows`."""
    scored: list[tuple[Piece, int]]
    """Pieces that want the logits of all their tokens, with their first row."""
    pooled: list[tuple[Request, int]]
    """Requests that want one row, with its number."""


def build_step(pieces: Sequence[Piece], page_tokens: int) -> Step:
    """Concatenate the pieces, in order."""
    tokens: list[int] = []
    positions: list[int] = []
    starts, row_ids = [0], list[int]()
    sample_rows, sampled, scored = list[int](), list[Request](), list[tuple[Piece, int]]()
    token_types, pooled = list[int](), list[tuple[Request, int]]()
    for piece in pieces:
        end = piece.start + piece.count
        tokens += piece.request.tokens[piece.start : end]
        positions += range(piece.start, end)
        if piece.request.scores:
            scored.append((piece, len(row_ids)))
            row_ids += range(starts[-1], starts[-1] + piece.count)
        elif piece.request.whole:
            assert piece.completes
            pooled.append((piece.request, len(row_ids)))
            token_types += piece.request.token_types or [0] * piece.count
            row_ids.append(len(tokens) - 1)
        elif piece.completes:
            sample_rows.append(len(row_ids))
            sampled.append(piece.request)
            row_ids.append(len(tokens) - 1)
        starts.append(len(tokens))
    batch = StepBatch(
        token_ids=np.array(tokens, dtype=np.int32),
        positions=np.array(positions, dtype=np.int32),
        starts=np.array(starts, dtype=np.int32),
        block_tables=block_tables(pieces, page_tokens),
        row_ids=np.array(row_ids, dtype=np.int32),
        token_types=np.array(token_types, dtype=np.int32),
        state_slots=np.array([piece.request.state_slot for piece in pieces], dtype=np.int32),
    )
    return Step(batch, sample_rows, sampled, scored, pooled)


def block_tables(
    pieces: Sequence[Piece], page_tokens: int
) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """`[S, blocks]`, each row as far as its piece needs, then zeros."""
    used = [-(-(piece.start + piece.count) // page_tokens) for piece in pieces]
    tables = np.zeros((len(pieces), max(used)), dtype=np.int32)
    for row, (piece, count) in enumerate(zip(pieces, used, strict=True)):
        tables[row, :count] = piece.request.pages[:count]
    return tables
