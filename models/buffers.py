"""Recomputes the buffers of an architecture, such as rotary frequencies, which no file stores."""

import inspect
from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from ingot.errors import UnsupportedError

from .weights import StoredWeight, Value, WeightInfo


def buffer_entries(model: nn.Module) -> dict[str, StoredWeight]:
    """Return every buffer of a model on the meta device by name; values are computed when read."""
    entries = {}
    for path, owner in model.named_modules():
        for name, buffer in owner.named_buffers(recurse=False):
            full_name = f"{path}.{name}" if path else name
            info = WeightInfo(tuple(buffer.shape), buffer.dtype)
            entries[full_name] = StoredWeight(info, _reader(owner, name, full_name))
    return entries


def _reader(owner: nn.Module, name: str, full_name: str) -> Callable[[], Value]:
    @cache
    def read() -> Value:
        return _recompute(owner, name, full_name)

    return read


def _recompute(owner: nn.Module, name: str, full_name: str) -> torch.Tensor:
    """Construct the owner of a buffer a second time, on the CPU, from its own config.

    The model's own constructor (`compute_default_rope_parameters`, `ROPE_INIT_FUNCTIONS`) is thus
    the only source of the values.
    """
    config = getattr(owner, "config", None)
    required = [
        parameter.name
        for parameter in inspect.signature(type(owner)).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    if config is None or required != ["config"]:
        raise UnsupportedError(
            f"the buffer {full_name!r} of {type(owner).__name__} cannot be recomputed",
            hint="Store the buffer in the checkpoint.",
        )
    with torch.device("cpu"):
        value = dict(type(owner)(config).named_buffers(recurse=False))[name]
    return value
