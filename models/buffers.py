"""Recomputes the buffers of an architecture, such as rotary frequencies, which no file stores."""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import nn
from transformers import PretrainedConfig
from transformers.initialization import no_init_weights

from .weights import StoredWeight, Value, WeightInfo

VALUE = "ingot_value"
"""The attribute of a buffer on the meta device that gives its value, if it has one."""


def buffer_entries(model: nn.Module) -> dict[str, StoredWeight]:
    """Return every buffer of a model on the meta device by name; values are computed when read."""
    built = cache(lambda: _all_buffers(model))
    entries = {}
    for path, owner in model.named_modules():
        for name, buffer in owner.named_buffers(recurse=False):
            full_name = f"{path}.{name}" if path else name
            info = WeightInfo(tuple(buffer.shape), buffer.dtype)
            read = getattr(buffer, VALUE, None) or _reader(owner, name, full_name, built)
            entries[full_name] = StoredWeight(info, read)
    return entries


def widen_numbers(model: nn.Module) -> None:
    """Make integer buffers of one number float32, as weights are, in place.

    Such a number scales features; the product is the same in either type.
    """
    for owner in model.modules():
        for name, buffer in list(owner.named_buffers(recurse=False)):
            if buffer.dim() == 0 and not buffer.is_floating_point():
                owner.register_buffer(name, buffer.to(torch.float32), persistent=False)


def _reader(
    owner: nn.Module, name: str, full_name: str, built: Callable[[], dict[str, torch.Tensor]]
) -> Callable[[], Value]:
    dtype = dict(owner.named_buffers(recurse=False))[name].dtype

    @cache
    def read() -> Value:
        if _needs_config_alone(owner):
            # The model's own constructor is the only source of the values.
            with torch.device("cpu"):
                alone = type(owner)(owner.config)
            return dict(alone.named_buffers(recurse=False))[name].to(dtype)
        return built()[full_name].to(dtype)

    return read


def _needs_config_alone(owner: nn.Module) -> bool:
    """Return whether a module without parameters, as of rotary frequencies, is easily built."""
    required = [
        parameter.name
        for parameter in inspect.signature(type(owner)).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    small = next(owner.parameters(), None) is None
    return required == ["config"] and small and getattr(owner, "config", None) is not None


def _all_buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    """Build the whole model a second time, with buffers on the CPU and no memory for parameters."""
    config = copy.deepcopy(model.config)
    assert isinstance(config, PretrainedConfig)
    with torch.device("cpu"), no_init_weights(), _parameters_on_meta():
        return dict(type(model)(config).named_buffers())


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Let every parameter lose its memory, which nothing has touched, as soon as it is made."""
    register = nn.Module.register_parameter

    def register_empty(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=False)
        register(module, name, parameter)

    nn.Module.register_parameter = register_empty  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
