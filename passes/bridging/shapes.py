"""Shapes of torch tensors, and how tokens, heads and features are arranged in them.

A step has one size that is not known, the number of tokens T, so `?` marks the dimension of tokens.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from ingot.ir import DYNAMIC, Context, Type, Value

_VTENSOR = re.compile(r"!torch\.vtensor<\[([\d,?]*)\],([\w<>]+)>")


@dataclass(frozen=True)
class TorchTensor:
    """The sizes (`DYNAMIC` for T) and the element type of a `!torch.vtensor`."""

    shape: tuple[int, ...]
    element: str

    def type(self, context: Context) -> Type:
        """Return the MLIR type."""
        sizes = ",".join("?" if size == DYNAMIC else str(size) for size in self.shape)
        return Type.parse(f"!torch.vtensor<[{sizes}],{self.element}>", context)


class Arrangement(Enum):
    """Where tokens, heads H and head sizes D stand in a tensor that has `[T, features]` in it."""

    FEATURES = "[?, F] or [1, ?, F]"
    HEADS = "[1, ?, H, D]"
    HEADS_FIRST = "[1, H, ?, D]"
    FEATURES_FIRST = "[1, F, ?]"


@lru_cache(maxsize=4096)
def _parse(text: str) -> TorchTensor | None:
    match = _VTENSOR.fullmatch(text)
    if match is None:
        return None
    sizes = (DYNAMIC if size == "?" else int(size) for size in match[1].split(",") if size)
    return TorchTensor(tuple(sizes), match[2])


def torch_tensor(value: Value | Type) -> TorchTensor | None:
    """Return the sizes and element type of a torch tensor with known rank, None for all else."""
    return _parse(str(value if isinstance(value, Type) else value.type))


def shape(value: Value) -> tuple[int, ...]:
    """Return the sizes of a torch tensor; an empty tuple for what is not one."""
    tensor = torch_tensor(value)
    return () if tensor is None else tensor.shape


def arrangement(sizes: Sequence[int]) -> Arrangement | None:
    """Return how a float tensor of these sizes is arranged, None if in no known way."""
    match list(sizes):
        case [tokens, _] if tokens == DYNAMIC:
            known = Arrangement.FEATURES
        case [1, tokens, _] if tokens == DYNAMIC:
            known = Arrangement.FEATURES
        case [1, tokens, _, _] if tokens == DYNAMIC:
            known = Arrangement.HEADS
        case [1, _, tokens, _] if tokens == DYNAMIC:
            known = Arrangement.HEADS_FIRST
        case [1, _, tokens] if tokens == DYNAMIC:
            known = Arrangement.FEATURES_FIRST
        case _:
            return None
    return known if list(sizes).count(DYNAMIC) == 1 else None


def heads(value: Value) -> tuple[int, int] | None:
    """Return (H, D) of a tensor arranged in heads; (1, F) of one that ends in its features."""
    sizes = shape(value)
    match arrangement(sizes):
        case Arrangement.FEATURES:
            return 1, sizes[-1]
        case Arrangement.HEADS:
            return sizes[2], sizes[3]
        case Arrangement.HEADS_FIRST:
            return sizes[1], sizes[3]
        case Arrangement.FEATURES_FIRST | None:
            return None
