"""Rotary frequencies that transformers changes with the length of a text: here they stay.

Within the length that the frequencies were made for, nothing changes, so that the layer can be
traced without its updates; `position_limit` says how far that is.
"""

import inspect
from collections.abc import Iterator, Mapping
from types import MethodType
from typing import Any

from torch import nn
from transformers import PretrainedConfig


def keep_frequencies(model: nn.Module) -> None:
    """Let rotary layers of `model` compute from their frequencies alone, in place.

    Those with dynamic scaling change them for texts longer than `max_position_embeddings`, LongRoPE
    (Ding et al., 2024) for texts longer than `original_max_position_embeddings`.
    """
    for module in model.modules():
        if any(map(_changes, _kinds(module))):
            # The updates are a decorator around the method.
            module.forward = MethodType(inspect.unwrap(type(module).forward), module)


def position_limit(config: PretrainedConfig) -> int | None:
    """Return the positions within which the frequencies of `config` stay; None for no bound."""
    limits = [
        parameters["original_max_position_embeddings"]
        for parameters in _parameters(config)
        if parameters.get("rope_type") == "longrope"
    ]
    return min(limits, default=None)


def _kinds(module: nn.Module) -> Iterator[str]:
    kind = getattr(module, "rope_type", None)
    yield from kind.values() if isinstance(kind, dict) else [str(kind)]


def _changes(kind: str) -> bool:
    return "dynamic" in kind or kind == "longrope"


def _parameters(config: PretrainedConfig) -> list[Mapping[str, Any]]:
    """Return the rotary parameters of a configuration, of each kind of layer where they differ."""
    found = getattr(config, "rope_parameters", None) or {}
    return [found, *(one for one in found.values() if isinstance(one, dict))]
