"""The sequences of a step divided among the groups of devices that have tokens of their own.

Also what each device of a mesh holds of a sequence: its caches and states stand in the batch under
the number of the device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ingot.ir.mlir import Value, func
from ingot.ir.ops.combine import Combine
from ingot.ir.ops.dispatch import Dispatch
from ingot.ir.ops.pool import Pool
from ingot.ir.ops.select_rows import SelectRows
from ingot.ir.quant_tensor import QuantTensor

from .values import Batch, CacheKey

TOKENS, ROWS, SEQUENCES, OTHER = "tokens", "rows", "sequences", "other"
"""What the rows of a value stand for; OTHER is no part of the whole step's rows."""


@dataclass(frozen=True)
class Group:
    """The part of a step that one data group runs.

    `places[kind]` are the places of its rows among those of the whole step.  A group without a
    sequence runs one token of padding, as a device must take part in what its neighbours do: its
    places are empty.
    """

    sequences: tuple[int, ...]
    starts: tuple[int, ...]
    rows: tuple[int, ...] | None
    places: Mapping[str, Tensor]

    @property
    def is_padding(self) -> bool:
        """Whether it has no sequence."""
        return not self.sequences

    def own(self, whole: Tensor) -> Tensor:
        """Return its tokens' elements of `[T]`: 0 for the token of padding."""
        return whole.new_zeros(1) if self.is_padding else whole[self.places[TOKENS]]

    def batch(self, whole: Batch, device: int) -> Batch:
        """Return the batch that `device` sees: its own caches and states of the sequences."""
        if self.is_padding:
            return Batch([0, 1], [0])
        types = None
        if whole.token_types is not None:
            types = [whole.token_types[token] for token in self.places[TOKENS].tolist()]
        return Batch(
            list(self.starts),
            None if self.rows is None else list(self.rows),
            [_caches_of(whole, sequence, device) for sequence in self.sequences],
            [_states_of(whole, sequence, device) for sequence in self.sequences],
            types,
        )


def divide(batch: Batch, count: int) -> list[Group]:
    """Return the `count` groups of a batch: `batch.groups`, else sequence s to group s % count."""
    spans = list(batch.spans())
    groups = batch.groups or [sequence % count for sequence in range(len(spans))]
    assert len(groups) == len(spans), f"{len(groups)} groups for {len(spans)} sequences"
    assert all(0 <= group < count for group in groups), f"groups {groups} of {count}"
    return [
        _group(batch, [s for s, own in enumerate(groups) if own == group]) for group in range(count)
    ]


def _group(batch: Batch, sequences: Sequence[int]) -> Group:
    spans = list(batch.spans())
    tokens = [token for s in sequences for token in range(*spans[s])]
    local = {token: index for index, token in enumerate(tokens)}
    starts = [0]
    for sequence in sequences:
        first, end = spans[sequence]
        starts.append(starts[-1] + end - first)
    rows, places = None, tokens
    if batch.rows is not None:
        places = [place for place, token in enumerate(batch.rows) if token in local]
        rows = tuple(local[batch.rows[place]] for place in places)
    indices = {TOKENS: tokens, ROWS: places, SEQUENCES: sequences}
    found = {kind: torch.tensor(one, dtype=torch.long) for kind, one in indices.items()}
    return Group(tuple(sequences), tuple(starts), rows, found)


def assemble(groups: Sequence[Group], values: Sequence[Any], kind: str) -> Any:
    """Return the rows of all groups, plain or encoded, in the order of the whole step."""
    if isinstance(values[0], QuantTensor):
        first = values[0]
        codes = assemble(groups, [one.values for one in values], kind)
        return QuantTensor(
            first.encoding, codes, assemble(groups, [one.scales for one in values], kind)
        )
    present = [
        (group.places[kind], value)
        for group, value in zip(groups, values, strict=True)
        if not group.is_padding
    ]
    whole = values[0].new_empty(sum(len(places) for places, _ in present), *values[0].shape[1:])
    for places, value in present:
        assert len(places) == len(value), f"{len(value)} rows for {len(places)} {kind}"
        whole[places] = value
    return whole


def keep_state(group: Group, whole: Batch, batches: Mapping[int, Batch]) -> None:
    """Write into `whole` what the devices of a group, by number, now hold of its sequences.

    What devices of other groups held of them is forgotten.
    """
    for index, sequence in enumerate(group.sequences):
        caches, states = whole.caches[sequence], whole.states[sequence]
        caches.clear()
        states.clear()
        for device, batch in batches.items():
            for layer, cache in batch.caches[index].items():
                assert isinstance(layer, int)
                caches[layer, device] = cache
            for (layer, name), state in batch.states[index].items():
                states[layer, f"{name}@{device}"] = state


def _caches_of(whole: Batch, sequence: int, device: int) -> dict[CacheKey, tuple[Tensor, Tensor]]:
    found = whole.caches[sequence].items()
    return {key[0]: one for key, one in found if isinstance(key, tuple) and key[1] == device}


def _states_of(whole: Batch, sequence: int, device: int) -> dict[tuple[int, str], Tensor]:
    suffix = f"@{device}"
    return {
        (layer, name.removesuffix(suffix)): state
        for (layer, name), state in whole.states[sequence].items()
        if name.endswith(suffix)
    }


def row_kinds(function: func.FuncOp) -> dict[Value, str]:
    """Return what the rows of every value that operations make stand for."""
    found: dict[Value, str] = {}
    for op in function.entry_block.operations:
        kinds = [kind for v in op.operands if (kind := found.get(v, TOKENS)) != TOKENS]
        kind = kinds[0] if kinds else TOKENS
        if isinstance(op, SelectRows):
            kind = ROWS
        elif isinstance(op, Pool):
            kind = SEQUENCES
        elif isinstance(op, Dispatch):
            kind = OTHER
        elif isinstance(op, Combine):
            kind = found.get(op.indices, TOKENS)
        found.update(dict.fromkeys(op.results, kind))
    return found
