"""The weights of a checkpoint, lazily: types are known at once, values are read one by one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch

from ingot.ir import Encoding, QuantTensor

Value = torch.Tensor | QuantTensor


@dataclass(frozen=True)
class WeightInfo:
    """What is known of a weight without reading it: its logical shape and how it is stored."""

    shape: tuple[int, ...]
    stored: torch.dtype | Encoding


@dataclass(frozen=True)
class StoredWeight:
    """One weight of a checkpoint; `read` maps or computes its value afresh on each call."""

    info: WeightInfo
    read: Callable[[], Value]


class Weights(Mapping[str, Value]):
    """Parameter name → value; each lookup reads that tensor alone and keeps no reference to it."""

    def __init__(self, entries: Mapping[str, StoredWeight]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Value:
        value = self._entries[name].read()
        assert tuple(value.shape) == self._entries[name].info.shape, name
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def info(self, name: str) -> WeightInfo:
        """Return shape and storage of the weight, without reading it; raises KeyError."""
        return self._entries[name].info

    def entry(self, name: str) -> StoredWeight:
        """Return the weight unread; raises KeyError."""
        return self._entries[name]


def map_bytes(path: Path, offset: int, size: int) -> "np.memmap[tuple[int], np.dtype[np.uint8]]":
    """Map `size` bytes of a file, alone, so that the pages leave memory with the last reference.

    The mapping is private and copy-on-write: torch refuses read-only memory, and no write to a
    tensor may reach the checkpoint.
    """
    return np.memmap(path, dtype=np.uint8, mode="c", offset=offset, shape=(size,))


def map_tensor(path: Path, offset: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """Map the row-major little-endian tensor that starts at byte `offset` of a file."""
    if not prod(shape):
        return torch.empty(shape, dtype=dtype)
    data = map_bytes(path, offset, prod(shape) * dtype.itemsize)
    aligned = data if offset % dtype.itemsize == 0 else np.array(data)
    return torch.from_numpy(aligned).view(dtype).view(shape)
