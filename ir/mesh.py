"""A mesh: the devices that run one module together, and the axes along which they are numbered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ingot.errors import UsageError

AXES: Mapping[str, str] = {
    "dp": "sequences",
    "tp": "heads, hidden features and vocabulary",
    "pp": "layers",
    "ep": "experts, and sequences",
    "cp": "the tokens of the KV cache",
}
"""What the devices along an axis divide among each other, by the axis's name."""
DATA_AXES = ("dp", "ep")
"""The axes along which every device has sequences of its own; others see the same tokens."""

_HINT = "Write axes and their sizes, like tp4 or dp2xtp4; axes are " + ", ".join(AXES) + "."


@dataclass(frozen=True)
class Mesh:
    """Named axes and their sizes; the last axis varies fastest in the numbers of the devices."""

    axes: tuple[tuple[str, int], ...]

    @classmethod
    def parse(cls, text: str) -> "Mesh":
        """Read `tp4`, `dp2xtp4`, `dp2,tp4` or `dp=2,tp=4`; raises UsageError for anything else."""
        axes = []
        for part in re.split(r"[x,]", text.strip()):
            match = re.fullmatch(r"\s*([a-z]+)\s*=?\s*([0-9]+)\s*", part)
            if match is None:
                raise UsageError(f"cannot read the mesh {text!r}", where=part, hint=_HINT)
            axes.append((match[1], int(match[2])))
        names = [name for name, _ in axes]
        for name, size in axes:
            if name not in AXES:
                raise UsageError(f"{name!r} is no axis of a mesh", where=text, hint=_HINT)
            if names.count(name) > 1:
                raise UsageError(f"names the axis {name} twice", where=text, hint=_HINT)
            if size < 1:
                raise UsageError(f"gives {name} {size} devices", where=text, hint=_HINT)
        return cls(tuple(axes))

    def __str__(self) -> str:
        return "x".join(f"{name}{size}" for name, size in self.axes)

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return prod(size for _, size in self.axes)

    def size(self, axis: str) -> int:
        """Return the number of devices along `axis`: 1 along an axis that the mesh lacks."""
        return dict(self.axes).get(axis, 1)

    def coordinates(self, device: int) -> dict[str, int]:
        """Return the place of a device along each axis, in the order of the axes."""
        assert 0 <= device < self.devices, f"device {device} of {self}"
        found: dict[str, int] = {}
        for name, size in reversed(self.axes):
            device, found[name] = divmod(device, size)
        return dict(reversed(found.items()))

    def groups(self, axis: str) -> list[list[int]]:
        """Return the sets of devices that differ in their place along `axis` alone, in order.

        Groups are ordered by their first device; along an axis that the mesh lacks every device is
        a group.
        """
        found: dict[tuple[int, ...], list[int]] = {}
        for device in range(self.devices):
            places = self.coordinates(device)
            rest = tuple(place for name, place in places.items() if name != axis)
            found.setdefault(rest, []).append(device)
        return list(found.values())

    @property
    def data_groups(self) -> int:
        """Into how many groups the sequences of a step are divided: dp x ep."""
        return prod(self.size(axis) for axis in DATA_AXES)

    def data_group(self, device: int) -> int:
        """Return which of the data groups a device belongs to.

        Numbered by the places along the data axes, in the mesh's order, the last varying fastest.
        """
        places, group = self.coordinates(device), 0
        for axis, size in self.axes:
            if axis in DATA_AXES:
                group = group * size + places[axis]
        return group
