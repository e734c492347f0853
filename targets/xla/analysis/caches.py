"""Copies of a whole KV cache: what a program makes where it wants another layout than it is given.

The cache comes in and goes out in one place (a donated parameter), so a copy of it is a copy there
and, mostly, one back: at every step, or even at every layer.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .hlo import HloModule
from .walk import places, sum_known


@dataclass(frozen=True)
class CacheCopy:
    """A value in the device's memory that copies all of a donated parameter, or several alike.

    `bytes` are those of one, padding left out; `count` stand in the program, and `times` are made
    in a step, None where that is not known.
    """

    dtype: str
    shape: tuple[int, ...]
    bytes: int
    count: int
    times: int | None

    def to_json(self) -> Mapping[str, Any]:
        """Return the fields as plain values."""
        return {**asdict(self), "shape": list(self.shape)}


def cache_copies_of(module: HloModule) -> tuple[CacheCopy, ...]:
    """Return the copies of donated parameters outside kernels, those alike as one."""
    donated = {
        (array.dtype, array.elements)
        for one in module.entry.parameters
        if one.index in module.donated
        for array in one.results
    }
    found: dict[tuple[str, tuple[int, ...], int], list[int | None]] = {}
    for place in places(module):
        for one in place.computation.instructions:
            if place.fused or one.opcode != "copy":
                continue
            for array in one.results:
                if array.space == 0 and (array.dtype, array.elements) in donated:
                    key = array.dtype, array.shape, array.bytes
                    found.setdefault(key, []).append(place.times)
    return tuple(
        CacheCopy(dtype, shape, size, len(times), sum_known(times))
        for (dtype, shape, size), times in found.items()
    )
