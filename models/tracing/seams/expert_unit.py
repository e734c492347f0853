"""Finds out what a model's experts compute between their linears, by trying."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ingot.errors import UnsupportedError
from ingot.ir import ACTIVATIONS, ExpertUnit

_ALPHAS = ("alpha", "swiglu_alpha")
_LIMITS = ("limit", "swiglu_limit")
_LARGEST_SAMPLE = 6.0


def unit_of(module: Any) -> ExpertUnit:
    """Return the unit that agrees with the experts of `module` on a sample.

    Candidates are made of the activations that `lm` has and of the numbers that the module
    carries.  Raises UnsupportedError where none agrees.
    """
    # The model is being traced on the meta device; the sample needs real arithmetic.
    with _disable_current_modes(), torch.no_grad(), torch.device("cpu"):
        gated, function = _function(module)
        # Beyond the limits, so that clamping shows.
        largest = 2 * max([_LARGEST_SAMPLE, *_numbers(module, _LIMITS)])
        sample = torch.linspace(-largest, largest, 256)
        order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
        rows = torch.stack([sample, sample.flip(0), sample[order], sample * 0.1])
        interleaved = gated and not getattr(module, "is_concatenated", True)
        expected = function(_interleaved(rows) if interleaved else rows)
        for unit in _candidates(module, gated):
            if torch.allclose(unit(rows), expected, rtol=1e-5, atol=1e-6):
                return unit
    raise UnsupportedError(
        f"what the experts of {type(module).__name__} compute between their linears is not known",
        hint="Give a model whose experts are gated by an activation of the docs' list.",
    )


def _function(module: Any) -> tuple[bool, Callable[[Tensor], Tensor]]:
    """Return whether the experts are gated, and what they apply to the first linear's result."""
    if getattr(module, "has_gate", True):
        apply_gate = getattr(module, "_apply_gate", None)
        if apply_gate is not None:
            return True, apply_gate
        activation = module.act_fn
        return True, lambda rows: activation(rows.chunk(2, -1)[0]) * rows.chunk(2, -1)[1]
    return False, module.act_fn


def _candidates(module: Any, gated: bool) -> Iterator[ExpertUnit]:
    for kind in ACTIVATIONS:
        yield ExpertUnit(kind, gated)
    alphas, limits = _numbers(module, _ALPHAS), _numbers(module, _LIMITS)
    for limit in (*limits, 0.0):
        for shift in (0.0, 1.0):
            for alpha in (1.0, *alphas):
                yield ExpertUnit("silu", gated, alpha, limit, shift)
            for kind in ACTIVATIONS:
                yield ExpertUnit(kind, gated, 1.0, limit, shift)


def _numbers(module: Any, names: tuple[str, ...]) -> list[float]:
    found = [getattr(module, name, None) for name in names]
    return [float(number) for number in found if isinstance(number, int | float)]


def _interleaved(rows: Tensor) -> Tensor:
    gate, up = rows.chunk(2, dim=-1)
    return torch.stack([gate, up], dim=-1).flatten(-2)
