"""Rotary positions that models split into time, height and width: for text all three are one."""

import torch
from torch import Tensor, nn


def adapt_rotary(model: nn.Module) -> None:
    """Let the layers of `model` that mix the three take the first, in place.

    They overwrite parts of it by the others in memory, which for text changes nothing.
    """
    for module in model.modules():
        if hasattr(module, "mrope_section") and hasattr(module, "recomposition_frequencies"):
            module.recomposition_frequencies = _first_twice  # type: ignore[assignment]


def _first_twice(waves: Tensor, *layer_type: str) -> Tensor:
    """Return the cosines or sines `[1, T, dim]` of `[3, 1, T, dim / 2]` for both halves."""
    return torch.cat((waves[0], waves[0]), dim=-1)
