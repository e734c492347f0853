"""Rows of sequences reduced to one row each, in plain torch."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

_REDUCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "cls": lambda rows: rows[0],
    "mean": lambda rows: rows.mean(0),
    "max": lambda rows: rows.amax(0),
    "last": lambda rows: rows[-1],
}
POOLINGS = tuple(_REDUCTIONS)


def pooled(x: Tensor, starts: Sequence[int], kind: str) -> Tensor:
    """Return `[S, features]` of x `[T, features]`; sequence s is rows starts[s] to starts[s+1]."""
    reduce = _REDUCTIONS[kind]
    return torch.stack([reduce(x[first:end]) for first, end in pairwise(starts)])
