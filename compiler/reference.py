"""The executor that runs the reference interpreter: slow, and right by definition.

The engine's tests run on it as well as on the native one.  Keys and values live in pages, and are
found through the block tables alone, so that a wrong page shows here as it would on a device.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from ingot.ir import Batch, CacheKey, Module, QuantTensor, carries_state, interpreter_of
from ingot.runtime.executor import Limits, StepBatch

PAGE_TOKENS = 16

Pool = tuple[torch.Tensor, torch.Tensor]
State = dict[tuple[int, str], torch.Tensor]


class ReferenceExecutor:
    """Runs a module, at any stage of the compiler, as an `Executor`."""

    def __init__(
        self,
        module: Module,
        weights: Mapping[str, torch.Tensor | QuantTensor],
        *,
        vocab_size: int,
        max_positions: int,
        num_pages: int = 64,
        max_step_tokens: int = 256,
        state_slots: int = 16,
        row_width: int = 0,
        token_types: int = 0,
    ) -> None:
        """`row_width` and `token_types` are those of `Limits`: for a module that pools."""
        self._interpreter = interpreter_of(module, weights)
        groups = 1 if module.mesh is None else module.mesh.data_groups
        assert num_pages % groups == 0, f"{num_pages} pages for {groups} groups"
        slots = state_slots if carries_state(module) else 0
        self._limits = Limits(
            vocab_size,
            max_positions,
            PAGE_TOKENS,
            num_pages,
            max_step_tokens,
            slots,
            row_width,
            token_types,
            groups,
        )
        self._pools: dict[CacheKey, Pool] = {}
        self._states: dict[int, State] = {}

    @property
    def limits(self) -> Limits:
        """What a step may hold."""
        return self._limits

    def step(self, batch: StepBatch) -> NDArray[np.float32]:
        """Run one step; see `Executor`."""
        _check(batch, self._limits)
        places = [_places(batch, sequence) for sequence in range(len(batch.starts) - 1)]
        state = Batch(
            starts=batch.starts.tolist(),
            rows=batch.row_ids.tolist(),
            caches=[self._gather(slots[:past]) for slots, past in places],
            states=self._states_of(batch),
            token_types=batch.token_types.tolist() or None,
            groups=_groups(batch, self._limits),
        )
        tokens = torch.from_numpy(batch.token_ids.astype(np.int32))
        positions = torch.from_numpy(batch.positions.astype(np.int32))
        logits = self._interpreter.step(tokens, positions, state)
        for (slots, past), cache in zip(places, state.caches, strict=True):
            self._scatter(slots[past:], past, cache)
        self._states.update(zip(batch.state_slots.tolist(), state.states, strict=False))
        return logits.to(torch.float32).contiguous().numpy()

    def close(self) -> None:
        """Release the pages and states."""
        self._pools.clear()
        self._states.clear()

    def _states_of(self, batch: StepBatch) -> list[State]:
        """Return what each sequence carries: nothing at its first token."""
        if not self._limits.state_slots:
            return []
        firsts = batch.positions[batch.starts[:-1]].tolist()
        return [
            dict(self._states[slot]) if first else {}
            for slot, first in zip(batch.state_slots.tolist(), firsts, strict=True)
        ]

    def _gather(self, slots: torch.Tensor) -> dict[CacheKey, Pool]:
        if not len(slots):
            return {}
        return {layer: (k[slots], v[slots]) for layer, (k, v) in self._pools.items()}

    def _scatter(self, slots: torch.Tensor, past: int, cache: Mapping[CacheKey, Pool]) -> None:
        for layer, (keys, values) in cache.items():
            if layer not in self._pools:
                self._pools[layer] = self._empty_pool(keys), self._empty_pool(values)
            pool_keys, pool_values = self._pools[layer]
            pool_keys[slots] = keys[past:]
            pool_values[slots] = values[past:]

    def _empty_pool(self, like: torch.Tensor) -> torch.Tensor:
        """Return pages full of NaN, so that reading what was never written shows."""
        slots = self._limits.num_pages * PAGE_TOKENS
        return torch.full((slots, *like.shape[1:]), torch.nan)


def _places(batch: StepBatch, sequence: int) -> tuple[torch.Tensor, int]:
    """Return the slot of every token of a sequence up to its last, and how many are cached."""
    first, end = batch.starts[sequence], batch.starts[sequence + 1]
    past = int(batch.positions[first])
    positions = np.arange(past + int(end - first))
    pages = batch.block_tables[sequence][positions // PAGE_TOKENS]
    return torch.from_numpy(pages.astype(np.int64) * PAGE_TOKENS + positions % PAGE_TOKENS), past


def _groups(batch: StepBatch, limits: Limits) -> list[int] | None:
    """Return the data group of each sequence: that whose range its pages lie in."""
    if limits.data_groups == 1:
        return None
    slots = limits.num_pages // limits.data_groups * PAGE_TOKENS
    found = []
    for sequence in range(len(batch.starts) - 1):
        ranges = _places(batch, sequence)[0] // slots
        if int(ranges.min()) != int(ranges.max()):
            raise ValueError(f"the pages of sequence {sequence} are in several groups' ranges")
        found.append(int(ranges[0]))
    return found


def _check(batch: StepBatch, limits: Limits) -> None:
    count = len(batch.token_ids)
    if not 0 < count <= limits.max_step_tokens:
        raise ValueError(f"{count} tokens in a step, the limit is {limits.max_step_tokens}")
    if batch.token_ids.min() < 0 or batch.token_ids.max() >= limits.vocab_size:
        raise ValueError(f"a token id is outside 0 … {limits.vocab_size - 1}")
    if batch.positions.min() < 0 or batch.positions.max() >= limits.max_positions:
        raise ValueError(f"a position is outside 0 … {limits.max_positions - 1}")
    pages = batch.block_tables
    if pages.size and (pages.min() < 0 or pages.max() >= limits.num_pages):
        raise ValueError(f"a page is outside 0 … {limits.num_pages - 1}")
    if limits.state_slots:
        _check_states(batch.state_slots.tolist(), len(batch.starts) - 1, limits.state_slots)


def _check_states(slots: list[int], sequences: int, limit: int) -> None:
    if len(slots) != sequences or len(set(slots)) != sequences:
        raise ValueError("every sequence of a step needs a state slot of its own")
    if min(slots) < 0 or max(slots) >= limit:
        raise ValueError(f"a state slot is outside 0 … {limit - 1}")
