"""Presents stored tensors under the names and in the layout of the model, as transformers would.

Published checkpoints often have another layout than the model that transformers builds: a tensor
for each expert, older names, halves that are one matrix.  transformers knows, for each type, rules
that rename and convert them while it loads; the same rules are applied here, one tensor at a time.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
)

from ingot.errors import CheckpointError, UnsupportedError
from ingot.ir import Encoding
from ingot.models.weights import StoredWeight, WeightInfo


@dataclass
class _Group:
    """Stored tensors that one conversion makes parameters of, by the pattern that each matched."""

    converter: WeightConverter
    sources: dict[str, list[StoredWeight]] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)


def convert_stored(
    model: PreTrainedModel, stored: Mapping[str, StoredWeight], *, where: str
) -> dict[str, StoredWeight]:
    """Return `stored` under the names of `model`; nothing is read but what is asked for later.

    A tensor that no rule concerns keeps its name.  Raises UnsupportedError for a conversion of
    encoded weights, CheckpointError where the stored shapes do not fit together.
    """
    rules = get_model_conversion_mapping(model)
    renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in rules if isinstance(rule, WeightConverter)]
    by_pattern = {pattern: one for one in converters for pattern in one.source_patterns}
    expected = model.state_dict()
    found: dict[str, StoredWeight] = {}
    groups: dict[str, _Group] = {}
    for key in sorted(stored, key=dot_natural_key):
        name, pattern = rename_source_key(
            key, renamings, converters, model.base_model_prefix, expected
        )
        if name not in expected:
            # A rule may fit by accident: what no parameter is called keeps its name.
            found[key] = stored[key]
        elif pattern is None:
            found[name] = stored[key]
        else:
            group = groups.setdefault(name, _Group(by_pattern[pattern]))
            group.sources.setdefault(pattern, []).append(stored[key])
            group.keys.append(key)
    for name, group in groups.items():
        found |= _targets(name, group, model, where)
    return found


def _targets(
    name: str, group: _Group, model: PreTrainedModel, where: str
) -> dict[str, StoredWeight]:
    """Return the parameters that a group makes; their shapes come of a trial without values."""
    for key, entry in zip(group.keys, _entries(group), strict=False):
        if isinstance(entry.info.stored, Encoding):
            raise UnsupportedError(
                f"the tensor {key!r} is encoded, and would have to be rearranged",
                where=where,
                hint="Give the checkpoint before it was quantised.",
            )
    try:
        shapes = _run(name, group, model, _empty)
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        raise CheckpointError(
            f"tensors such as {group.keys[0]!r} do not make {name!r}: {error}",
            where=where,
            hint="Use the config.json that was published with these weights.",
        ) from error
    return {
        target: StoredWeight(
            WeightInfo(tuple(value.shape), value.dtype), partial(_read, name, target, group, model)
        )
        for target, value in shapes.items()
    }


def _entries(group: _Group) -> list[StoredWeight]:
    return [entry for entries in group.sources.values() for entry in entries]


def _empty(entry: StoredWeight) -> Tensor:
    assert isinstance(entry.info.stored, torch.dtype)
    return torch.empty(entry.info.shape, dtype=entry.info.stored, device="meta")


def _value(entry: StoredWeight) -> Tensor:
    value = entry.read()
    assert isinstance(value, Tensor)
    return value


def _read(name: str, target: str, group: _Group, model: PreTrainedModel) -> Tensor:
    return _run(name, group, model, _value)[target]


def _run(
    name: str, group: _Group, model: PreTrainedModel, tensor: Callable[[StoredWeight], Tensor]
) -> dict[str, Tensor]:
    """Convert a group, each of whose tensors `tensor` gives."""
    converter = deepcopy(group.converter)
    for pattern, entries in group.sources.items():
        for entry in entries:
            # A callable is what the rule takes for a tensor that is not read yet.
            converter.add_tensor(name, name, pattern, partial(tensor, entry))  # type: ignore[arg-type]
    results = converter.convert(name, model=model, config=model.config)
    return {
        target: value[0] if isinstance(value, list) else value for target, value in results.items()
    }
