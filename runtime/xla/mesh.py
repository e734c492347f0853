"""Which device of a plan's mesh is where: its stage, its data group, its parts of the weights.

Devices are numbered row-major over the axes, the last axis fastest.  `dp` and `ep` divide the
sequences of a step, `cp` the tokens of the KV cache, `pp` the layers, `tp` the rest.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

_AXIS = re.compile(r"(dp|tp|pp|ep|cp)([1-9][0-9]*)")
_DATA_AXES = ("dp", "ep")


@dataclass(frozen=True)
class DeviceMesh:
    """The axes in the order of device numbers, with their sizes."""

    axes: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def parse(text: str) -> "DeviceMesh":
        """Read "dp2xtp4"; "" is one device.  Raises ValueError."""
        matches = [_AXIS.fullmatch(part) for part in text.split("x")] if text else []
        axes = tuple((match[1], int(match[2])) for match in matches if match)
        if len(axes) < len(matches) or len(dict(axes)) < len(axes):
            raise ValueError(f"{text!r} is no mesh")
        return DeviceMesh(axes)

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return prod(size for _, size in self.axes)

    @property
    def stages(self) -> int:
        """How many pipeline stages there are."""
        return self.size("pp")

    @property
    def data_groups(self) -> int:
        """How many groups of devices have sequences of their own."""
        return prod(self.size(axis) for axis in _DATA_AXES)

    def size(self, axis: str) -> int:
        """Devices along `axis`; 1 where the mesh has no such axis."""
        return dict(self.axes).get(axis, 1)

    def coordinates(self, device: int) -> dict[str, int]:
        """Where device number `device` stands on each axis."""
        place = {}
        for axis, size in reversed(self.axes):
            device, place[axis] = divmod(device, size)
        return place

    def stage_devices(self, stage: int) -> list[int]:
        """The devices of a stage, in order: replica r of its programs is the r-th of them."""
        everything = range(self.devices)
        return [d for d in everything if self.coordinates(d).get("pp", 0) == stage]

    def data_group(self, device: int) -> int:
        """Which group's sequences a device runs."""
        axes = [(axis, size) for axis, size in self.axes if axis in _DATA_AXES]
        return row_major(axes, self.coordinates(device))


def row_major(axes: Sequence[tuple[str, int]], place: Mapping[str, int]) -> int:
    """Return the number of `place` among all places of `axes`, the last axis fastest."""
    number = 0
    for axis, size in axes:
        number = number * size + place.get(axis, 0)
    return number
