"""Repeats a tensor to the features of another one, as torch's broadcasting does."""

import numpy as np

from ingot.ir import DYNAMIC, ArrangeRows, Reshape, Value, shape_of
from ingot.passes.bridging import arrangement, shape, weight

from .arranging import arranged, pieces_of
from .features import features
from .moving import sizes_of


def broadcasts(narrow: Value, wide: Value) -> bool:
    """Return whether `narrow` is repeated to the sizes of `wide`, tokens upon tokens."""
    small, large = sizes_of(narrow), sizes_of(wide)
    padded = (1,) * (len(large) - len(small)) + small
    if len(padded) != len(large) or arrangement(shape(wide)) is None:
        return False
    if any(size not in (1, other) for size, other in zip(padded, large, strict=True)):
        return False
    tokens = [shape(one).index(DYNAMIC) - len(shape(one)) for one in (narrow, wide) if _moves(one)]
    return len(set(tokens)) == 1


def spread(narrow: Value, wide: Value) -> Value | None:
    """Return `narrow` with the features of `wide`: an activation, or a parameter `[features]`.

    None where it does not broadcast to `wide`, or is neither.
    """
    if not broadcasts(narrow, wide):
        return None
    small, large = sizes_of(narrow), sizes_of(wide)
    count = int(np.prod(small, dtype=np.int64))
    codes = np.broadcast_to(np.arange(count, dtype=np.int64).reshape(small), large).reshape(-1)
    if _moves(narrow):
        rows = features(narrow)
        return None if rows is None else arranged(codes, [rows])
    parameter = weight(narrow)
    if parameter is None:
        return None
    flat = parameter if shape_of(parameter) == [count] else Reshape(parameter, [count]).out
    if len(codes) == count:
        return flat
    found = pieces_of(codes)
    return None if found is None else ArrangeRows(flat, heads=found[0], pieces=found[1]).out


def _moves(value: Value) -> bool:
    return DYNAMIC in shape(value)
