"""TPU topologies by the names that Google gives them, and by the shape of their chips.

The number in a name is that of chips for the generations v5e and v6e and that of TensorCores, two
a chip, for the others (Google Cloud TPU documentation, "TPU versions").  A program sees a chip as
one device, of TPU7x as two.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ingot.errors import UsageError
from ingot.targets.hardware import (
    TPU_7X,
    TPU_V4,
    TPU_V5E,
    TPU_V5P,
    TPU_V6E,
    Hardware,
)
from ingot.targets.xla.platform import Platform

_PLANE = {1: (1, 1), 4: (2, 2), 8: (2, 4), 16: (4, 4), 32: (4, 8), 64: (8, 8), 128: (8, 16)}
_PLANE |= {256: (16, 16)}
_SOLID = {8: (2, 2, 1), 16: (2, 2, 2), 32: (2, 2, 4), 64: (2, 4, 4), 128: (4, 4, 4)}
_SOLID |= {256: (4, 4, 8), 512: (4, 8, 8), 1024: (8, 8, 8)}
_MOST_CHIPS = 8960
"""Chips of the largest pod, of v5p."""


@dataclass(frozen=True)
class Generation:
    """One generation of chips: its shapes by the number in a name, and what libtpu must be told."""

    name: str
    hardware: Hardware
    shapes: Mapping[int, tuple[int, ...]]
    devices_per_chip: int = 1
    chip_config: str = ""

    @property
    def dimensions(self) -> int:
        """Dimensions in which the chips stand."""
        return len(next(iter(self.shapes.values())))


GENERATIONS = {
    one.name: one
    for one in (
        # Without this, libtpu takes the two cores of a chip for two devices, as they were run once.
        Generation("v4", TPU_V4, _SOLID, chip_config="megacore"),
        Generation("v5e", TPU_V5E, _PLANE),
        Generation("v5p", TPU_V5P, _SOLID),
        Generation("v6e", TPU_V6E, _PLANE),
        Generation("tpu7x", TPU_7X, _SOLID, devices_per_chip=2),
    )
}
_OTHER_NAMES = {"v5litepod": "v5e"}
_NAME = re.compile(r"(\w+?)-(\d+)")
_SHAPE = re.compile(r"(\w+?):(\d+(?:x\d+)+)")


@dataclass(frozen=True)
class Topology:
    """Chips of one generation in a grid."""

    generation: Generation
    shape: tuple[int, ...]

    @property
    def text(self) -> str:
        """The name as libtpu writes it."""
        return f"{self.generation.name}:{'x'.join(map(str, self.shape))}"

    @property
    def devices(self) -> int:
        """How many devices a program sees."""
        return prod(self.shape) * self.generation.devices_per_chip

    @property
    def platform(self) -> Platform:
        """What the compiler is told."""
        options: dict[str, str | tuple[int, ...]] = {}
        if self.generation.chip_config:
            options["chip_config_name"] = self.generation.chip_config
        if prod(self.shape) == 1:
            # A host has four chips unless libtpu is told otherwise.
            options["chips_per_host_bounds"] = (1, 1, 1)
        return Platform("tpu", self.text, self.devices, options)


def known_topologies() -> list[str]:
    """Return the names of the topologies that have one."""
    return [f"{one.name}-{size}" for one in GENERATIONS.values() for size in one.shapes]


def find_topology(name: str) -> Topology:
    """Return the topology called `name`, as in `v5e-8`, `v5litepod-8` or `v5p:2x2x2`.

    Raises `UsageError`, which lists those that there are.
    """
    if match := _NAME.fullmatch(name):
        generation = _generation(match[1], name)
        shape = generation.shapes.get(int(match[2]))
        if shape is None:
            raise _unknown(name, f"{generation.name} has no topology of {match[2]}")
        return Topology(generation, shape)
    if match := _SHAPE.fullmatch(name):
        return _of_shape(name, match[1], tuple(map(int, match[2].split("x"))))
    raise _unknown(name, "it is neither a name nor a shape")


def _of_shape(name: str, generation_name: str, shape: tuple[int, ...]) -> Topology:
    generation = _generation(generation_name, name)
    if len(shape) != generation.dimensions:
        raise _unknown(
            name, f"chips of {generation.name} stand in {generation.dimensions} dimensions"
        )
    if min(shape) < 1 or prod(shape) > _MOST_CHIPS:
        raise _unknown(name, f"there are pods of 1 to {_MOST_CHIPS} chips")
    if prod(shape) > 1 and (shape[0] % 2 or shape[1] % 2):
        raise _unknown(name, "it is not made of whole hosts, which have 2x2 chips")
    return Topology(generation, shape)


def _generation(text: str, name: str) -> Generation:
    found = GENERATIONS.get(_OTHER_NAMES.get(text, text))
    if found is None:
        raise _unknown(name, f"{text} is no generation of TPUs that is known")
    return found


def _unknown(name: str, problem: str) -> UsageError:
    sizes = ", ".join(
        f"{one.name}-{{{','.join(map(str, one.shapes))}}}" for one in GENERATIONS.values()
    )
    return UsageError(
        f"tpu has no topology {name!r}: {problem}",
        hint=f"Known: {sizes}; or the shape of the chips, as in v5p:2x2x2 and v5e:4x4.",
    )
