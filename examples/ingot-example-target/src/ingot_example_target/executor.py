"""Runs the program of an artifact: what the engine knows of this target."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.runtime import Artifact, Limits, StepBatch

from .library import Cache, Floats
from .program_file import PROGRAM

PAGE_TOKENS = 16


class NumpyExecutor:
    """An executor on numpy; see `ingot.runtime.Executor` for the contract of its methods."""

    def __init__(
        self,
        artifact: Artifact,
        *,
        threads: int | None = None,
        max_step_tokens: int = 256,
        kv_pages: int = 256,
    ) -> None:
        """Load an artifact; numpy itself decides on how many threads it works."""
        program: dict[str, Any] = {}
        exec(compile(artifact.read_text(PROGRAM), PROGRAM, "exec"), program)
        self._step = program["step"]
        self._weights = {
            name: _floats(artifact.weights[name], shape)
            for name, shape in program["SHAPES"].items()
        }
        self._pools: dict[int, tuple[Floats, Floats]] = {}
        self._limits = Limits(
            program["VOCAB_SIZE"],
            program["MAX_POSITIONS"],
            PAGE_TOKENS,
            kv_pages,
            max_step_tokens,
        )

    @property
    def limits(self) -> Limits:
        """What a step may hold."""
        return self._limits

    def step(self, batch: StepBatch) -> NDArray[np.float32]:
        """Run one step and return logits `[R, vocab_size]`."""
        if len(batch.token_ids) > self._limits.max_step_tokens:
            raise ValueError(f"{len(batch.token_ids)} tokens in a step")
        slots = [_slots(batch, sequence) for sequence in range(len(batch.starts) - 1)]
        capacity = self._limits.num_pages * PAGE_TOKENS
        cache = Cache(batch.row_ids, batch.starts, slots, self._pools, capacity)
        logits = self._step(self._weights, batch.token_ids, batch.positions, cache)
        return np.ascontiguousarray(logits, dtype=np.float32)

    def close(self) -> None:
        """Release the pools."""
        self._pools.clear()


def _floats(data: NDArray[np.uint8], shape: tuple[int, ...]) -> Floats:
    """Return a weight; an artifact pads each to a multiple of 64 bytes."""
    return data[: 4 * prod(shape)].view(np.float32).reshape(shape)


def _slots(batch: StepBatch, sequence: int) -> NDArray[np.int64]:
    """Return the place in the pools of every token of a sequence, those cached first."""
    end = int(batch.starts[sequence + 1])
    places = np.arange(int(batch.positions[end - 1]) + 1)
    pages = batch.block_tables[sequence][places // PAGE_TOKENS].astype(np.int64)
    slots: NDArray[np.int64] = pages * PAGE_TOKENS + places % PAGE_TOKENS
    return slots
