"""Packed weights grouped by kind of layer."""

import re
from collections.abc import Iterable
from math import prod

from ingot.ir import encoding_of, logical_type, shape_of
from ingot.targets import PackedWeight

from .report import LayerKind

PART = "@"
"""Stands in the name of a part of a divided weight before the place of those that hold it."""
VECTOR = "vector"
"""The packing of whatever has one dimension."""


def layer_kinds(weights: Iterable[PackedWeight]) -> tuple[LayerKind, ...]:
    """Group packed weights by name and encoding, in the order in which they come.

    The parts of a divided weight count as one.
    """
    kinds: dict[tuple[str, str, str], LayerKind] = {}
    seen: set[tuple[str, str, str, str]] = set()
    for weight in weights:
        name = weight.name.partition(PART)[0]
        packing = weight.packing if len(shape_of(weight.value)) > 1 else VECTOR
        key = (generic_name(name), encoding_name(weight), packing)
        known = kinds.get(key, LayerKind(*key, count=0, parameters=0, bytes=0))
        first = (name, *key) not in seen
        seen.add((name, *key))
        kinds[key] = LayerKind(
            *key,
            known.count + first,
            known.parameters + prod(shape_of(weight.value)),
            known.bytes + weight.num_bytes,
        )
    return tuple(kinds.values())


def generic_name(name: str) -> str:
    """Return a weight's name with `*` for every number that stands alone between dots."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)


def encoding_name(weight: PackedWeight) -> str:
    """Return the encoding of a weight, or the type in which its floats are packed."""
    encoding = encoding_of(weight.value)
    return str(encoding or logical_type(weight.value).element_type)
