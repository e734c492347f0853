"""Fits stored tensors to the parameters of an architecture: names, shapes, shared storage."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from ingot.errors import CheckpointError, UnsupportedError
from ingot.ir import Encoding
from ingot.models.buffers import buffer_entries
from ingot.models.weights import StoredWeight, Weights

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Fitted:
    """The weights under the model's own names, who shares storage with whom, what is left over.

    `computed` names the buffers that the architecture makes itself and does not store.
    """

    weights: Weights
    tied: Mapping[str, str]
    unused: tuple[str, ...]
    computed: frozenset[str]


def fit(
    model: PreTrainedModel,
    stored: Mapping[str, StoredWeight],
    *,
    where: str,
    others: Mapping[str, StoredWeight] | None = None,
) -> Fitted:
    """Match `stored` to `model`; raises CheckpointError for a missing or wrongly shaped tensor.

    Names may lack the prefix of the model's body or carry one too many, as checkpoints of the body
    alone do.  A tied parameter needs to be stored once, under either name.  `others` are weights
    of a head that is no part of the architecture, taken as they are.
    """
    keys = _Keys(model, stored)
    entries: dict[str, StoredWeight] = dict(others or {})
    tied: dict[str, str] = {}
    missing: list[str] = []
    for names in _sharing(model):
        present = [name for name in names if keys.of(name) is not None]
        if not present:
            missing.append(names[0])
            continue
        owner = present[0]
        entry = stored[keys.take(owner)]
        _check(model, owner, entry, where)
        entries |= dict.fromkeys(names, entry)
        tied |= {name: owner for name in names if name != owner}
    if missing:
        raise _missing(missing, where)
    buffers = buffer_entries(model)
    for name, entry in buffers.items():
        key = keys.of(name)
        entries[name] = entry if key is None else stored[keys.take(name)]
    computed = frozenset(buffers) - model.state_dict(keep_vars=True).keys()
    return Fitted(Weights(entries), tied, keys.unused(set(tied)), computed)


class _Keys:
    """Finds the stored key of a model's name, and remembers which keys were used."""

    def __init__(self, model: PreTrainedModel, stored: Mapping[str, StoredWeight]) -> None:
        self._prefix, self._stored = f"{model.base_model_prefix}.", stored
        self._used: set[str] = set()

    def of(self, name: str) -> str | None:
        older = _older_name(name)
        spellings = [
            spelling
            for one in dict.fromkeys((name, older))
            for spelling in (one, one.removeprefix(self._prefix), self._prefix + one)
        ]
        return next((key for key in spellings if key in self._stored), None)

    def take(self, name: str) -> str:
        key = self.of(name)
        assert key is not None
        self._used.add(key)
        return key

    def unused(self, tied: set[str]) -> tuple[str, ...]:
        shared = {self.of(name) for name in tied}
        return tuple(sorted(set(self._stored) - self._used - shared))


def _older_name(name: str) -> str:
    """Return what TensorFlow called the parameters of a norm, as old encoders still do."""
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    for new, old in older.items():
        if name.endswith(new):
            return name.removesuffix(new) + old
    return name


def _sharing(model: nn.Module) -> list[list[str]]:
    """Return the names of each parameter; the first is the one that the module tree meets first."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return list(groups.values())


def _check(model: nn.Module, name: str, entry: StoredWeight, where: str) -> None:
    expected = tuple(model.get_parameter(name).shape)
    if entry.info.shape != expected:
        raise CheckpointError(
            f"weight {name!r} has the shape {list(entry.info.shape)}, but the configuration makes "
            f"it {list(expected)}",
            where=where,
            hint="Use the config.json that was published with these weights.",
        )
    if not isinstance(entry.info.stored, Encoding) and entry.info.stored not in FLOATS:
        raise UnsupportedError(
            f"weight {name!r} is stored as {entry.info.stored}",
            where=where,
            hint="Save the model as float32, bfloat16 or float16.",
        )


def _missing(names: list[str], where: str) -> CheckpointError:
    shown = ", ".join(repr(name) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return CheckpointError(
        f"weight {shown}{more} is missing",
        where=where,
        hint="Download the checkpoint again; every file that its index names is needed.",
    )
