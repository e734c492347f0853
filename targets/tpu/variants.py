"""Names of TPUs: a generation with a count, as Google sells them, or with a topology.

`v5e-8` counts what the generation counts: chips where a chip is one device (v5e, v6e), TensorCores
otherwise (v4, v5p and tpu7x have two a chip).  `v5p:2x2x2` gives the chips along each dimension.
Source of the shapes: Google Cloud TPU documentation, supported configurations of the generation.
"""

from dataclasses import dataclass
from math import prod

from ingot.errors import UsageError
from ingot.targets.finding import unknown_variant
from ingot.targets.hardware import TPU_7X, TPU_V4, TPU_V5E, TPU_V5P, TPU_V6E, Hardware
from ingot.targets.xla.platform import Platform

DEFAULT = "v5e-8"


@dataclass(frozen=True)
class Generation:
    """A generation: its numbers, its dimensions, and devices and counted cores of a chip."""

    name: str
    hardware: Hardware
    dimensions: int
    devices_per_chip: int
    cores_per_chip: int
    megacore: bool = False


GENERATIONS = {
    one.name: one
    for one in (
        # Both cores of a v4 chip work as one device, which has the memory of the chip.
        Generation("v4", TPU_V4, 3, devices_per_chip=1, cores_per_chip=2, megacore=True),
        Generation("v5e", TPU_V5E, 2, devices_per_chip=1, cores_per_chip=1),
        Generation("v5p", TPU_V5P, 3, devices_per_chip=1, cores_per_chip=2),
        Generation("v6e", TPU_V6E, 2, devices_per_chip=1, cores_per_chip=1),
        Generation("tpu7x", TPU_7X, 3, devices_per_chip=2, cores_per_chip=2),
    )
}

_SHAPES = {
    2: ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)),
    3: ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4), (4, 4, 4), (4, 4, 8), (4, 8, 8)),
}
"""The usual shapes by their number of dimensions; no two have equally many chips."""

_HOST = {2: (2, 2), 3: (2, 2, 1)}
"""Chips of a host, of which a larger shape is made."""


def known_variants() -> tuple[str, ...]:
    """Return the names with counts."""
    return tuple(
        f"{one.name}-{prod(shape) * one.cores_per_chip}"
        for one in GENERATIONS.values()
        for shape in _SHAPES[one.dimensions]
    )


def platform_of(variant: str) -> tuple[Platform, Hardware]:
    """Return what a variant compiles for, and a device's numbers; raise `UsageError` for others."""
    generation, shape = _parse(variant)
    dimensions = "x".join(map(str, shape))
    options: dict[str, str | tuple[int, ...]] = {}
    if generation.megacore:
        options["chip_config_name"] = "megacore"
    if prod(shape) == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    topology = f"{generation.name}:{dimensions}"
    devices = prod(shape) * generation.devices_per_chip
    return Platform("tpu", topology, devices, options), generation.hardware


def _parse(variant: str) -> tuple[Generation, tuple[int, ...]]:
    for separator in ("-", ":"):
        name, _, rest = variant.partition(separator)
        if name in GENERATIONS and rest:
            generation = GENERATIONS[name]
            shape = _counted(generation, rest) if separator == "-" else _shaped(generation, rest)
            if shape:
                return generation, shape
    raise _unknown(variant)


def _counted(generation: Generation, text: str) -> tuple[int, ...]:
    """Return the usual shape of so many counted cores, nothing where there is none."""
    for shape in _SHAPES[generation.dimensions]:
        if text == str(prod(shape) * generation.cores_per_chip):
            return shape
    return ()


def _shaped(generation: Generation, text: str) -> tuple[int, ...]:
    """Return a shape that is written out, nothing where it cannot be built of whole hosts."""
    parts = text.split("x")
    if len(parts) != generation.dimensions or not all(part.isdecimal() for part in parts):
        return ()
    shape = tuple(map(int, parts))
    whole = all(size and size % of == 0 for size, of in zip(shape, _HOST[len(shape)], strict=True))
    return shape if whole or prod(shape) == 1 else ()


def _unknown(variant: str) -> UsageError:
    lines = []
    for one in GENERATIONS.values():
        counts = [prod(shape) * one.cores_per_chip for shape in _SHAPES[one.dimensions]]
        lines.append(f"{one.name}-{'|'.join(map(str, counts))}")
    shapes = "Or give a topology of whole hosts, as in tpu:v5e:2x4 or tpu:v5p:2x2x2."
    return unknown_variant("tpu", variant, lines, shapes)
