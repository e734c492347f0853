"""The operation that a device runs in place of one on whole values: its types and its building."""

import inspect
from collections.abc import Mapping, Sequence
from typing import get_args

from ingot.ir import (
    AttributeValue,
    Op,
    OpView,
    Quant,
    Sharding,
    Type,
    Value,
    encoding_of,
    logical_type,
    python_value,
    shape_of,
    tensor_type,
)


def local_shape(value: Value, sharding: Sharding) -> list[int]:
    """Return the sizes of a device's part; rows of activations stay `?`."""
    sizes = shape_of(value)
    return [_part(size, sharding, dim) for dim, size in enumerate(sizes)]


def local_type(value: Value, sharding: Sharding) -> Type:
    """Return the type of a device's part of `value`."""
    kind = value.type
    if not any(sharding.dims):
        return kind
    part = tensor_type(local_shape(value, sharding), logical_type(value).element_type)
    encoding = encoding_of(value)
    return part if encoding is None else Quant.of(part, encoding)


def _part(size: int, sharding: Sharding, dim: int) -> int:
    for part in sharding.dims[dim]:
        if size >= 0:
            assert size % (part.parts * part.blocks) == 0, f"{size} in {part}"
            size //= part.parts
    return size


def operands_of(op: OpView) -> dict[str, Value]:
    """Return the operands that an operation has by the names of their fields."""
    if not isinstance(op, Op):
        return {str(index): value for index, value in enumerate(op.operation.operands)}
    found = {}
    for name, kind in inspect.get_annotations(type(op)).items():
        if kind is Value or Value in get_args(kind):
            value = getattr(op, name)
            if value is not None:
                found[name] = value
    return found


def rebuilt(
    op: Op,
    operands: Mapping[str, Value],
    results: Sequence[Type],
    changed: Mapping[str, AttributeValue],
) -> Op:
    """Build `op` again on other operands, by field, with other result types and attributes."""
    fields = inspect.get_annotations(type(op))
    attributes = {
        name: python_value(op.attributes[name]) for name in fields if name in op.attributes
    }
    places = [name for name, kind in fields.items() if kind is Value or Value in get_args(kind)]
    made = type(op).__new__(type(op))
    made.build(
        [operands.get(name) for name in places],
        list(results),
        attributes | dict(changed),
        loc=op.location,
    )
    return made
