"""Packed weights grouped by kind of layer."""

import re
from collections.abc import Iterable
from math import prod

from ingot.ir import encoding_of, logical_type, shape_of
from ingot.targets import PackedWeight

from .report import LayerKind


def layer_kinds(weights: Iterable[PackedWeight]) -> tuple[LayerKind, ...]:
    """Group packed weights by name and encoding, in the order in which they come."""
    kinds: dict[tuple[str, str, str], LayerKind] = {}
    for weight in weights:
        key = (generic_name(weight.name), encoding_name(weight), weight.packing)
        known = kinds.get(key, LayerKind(*key, count=0, parameters=0, bytes=0))
        kinds[key] = LayerKind(
            *key,
            known.count + 1,
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
