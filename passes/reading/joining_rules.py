"""What ops that make one tensor of several make of forms."""

from collections.abc import Mapping

import numpy as np

from ingot.ir import OpView
from ingot.passes.bridging import integer, items

from .forms import Form, constant_form, joined
from .moving import sizes_of
from .walking import Rule, Walk


def _cat(walk: Walk, op: OpView, depth: int) -> Form | None:
    parts = [walk(item, depth - 1) for item in items(op.operation.operands[0])]
    dim = integer(op.operation.operands[1])
    known = [part for part in parts if part is not None]
    return joined(known, dim) if dim is not None and known and len(known) == len(parts) else None


def _stack(walk: Walk, op: OpView, depth: int) -> Form | None:
    parts = [walk(item, depth - 1) for item in items(op.operation.operands[0])]
    dim = integer(op.operation.operands[1])
    known = [part for part in parts if part is not None]
    if dim is None or not known or len(known) != len(parts):
        return None
    axis = dim % (len(known[0].sizes) + 1)
    return joined([p.moved(lambda places: np.expand_dims(places, axis)) for p in known], axis)


def _copy(walk: Walk, op: OpView, depth: int) -> Form | None:
    x = walk(op.operation.operands[1], depth - 1)
    sizes = sizes_of(op.operation.results[0])
    return None if x is None else x.moved(lambda places: np.broadcast_to(places, sizes))


def _scattered(walk: Walk, op: OpView, depth: int) -> Form | None:
    """A slice of the first operand overwritten by the second."""
    below, above = (walk(one, depth - 1) for one in list(op.operation.operands)[:2])
    dim, start, _, step = (integer(one) for one in list(op.operation.operands)[2:])
    if below is None or above is None or dim is None or step is None:
        return None
    if below.imaginary or above.imaginary:
        return None
    first, count = start or 0, above.sizes[dim]
    if first < 0:
        first += below.sizes[dim]
    place = [slice(None)] * len(below.sizes)
    place[dim] = slice(first, first + count * step, step)
    arrays = []
    for name in ("coefficient", "feature", "wave"):
        array = getattr(below, name).copy()
        array[tuple(place)] = getattr(above, name)
        arrays.append(array)
    return Form(*arrays)


def _zeros(walk: Walk, op: OpView, depth: int) -> Form | None:
    """A tensor that is yet to be written to."""
    return constant_form(sizes_of(op.operation.results[0]), 0.0)


def _ones(walk: Walk, op: OpView, depth: int) -> Form | None:
    return constant_form(sizes_of(op.operation.results[0]), 1.0)


JOINING_RULES: Mapping[str, Rule] = {
    f"torch.aten.{name}": rule
    for rule, names in (
        (_cat, "cat"),
        (_stack, "stack"),
        (_copy, "copy"),
        (_scattered, "slice_scatter"),
        (_zeros, "new_empty empty.memory_format zeros new_zeros"),
        (_ones, "ones_like"),
    )
    for name in names.split()
}
