"""Raises taking a range of the features: slices, and splits into several."""

from itertools import accumulate

from ingot.ir import Slice, Value, torch_dialect
from ingot.passes.bridging import Arrangement, arrangement, as_torch, integer, shape
from ingot.passes.core import pattern, producer, replace
from ingot.passes.reading import features

_SPLITS = torch_dialect.AtenSplitTensorOp | torch_dialect.AtenSplitWithSizesOp


@pattern
def features_slice(op: torch_dialect.AtenSliceTensorOp) -> None:
    """`x[..., offset:end]` with step 1."""
    x, dim, start, _, step = op.operands
    offset = integer(start)
    if not _is_last(x, dim) or offset is None or offset < 0 or integer(step) != 1:
        return
    rows = features(x)
    if rows is not None:
        part = Slice(rows, offset=offset, size=_width(op.result))
        replace(op, as_torch(part.out, op.result.type))


@pattern
def features_split(op: torch_dialect.PrimListUnpackOp) -> None:
    """`split(x, sizes, -1)`, of which each part becomes a slice."""
    split = producer(op.operands[0], _SPLITS)
    if split is None or not _is_last(split.operands[0], split.operands[2]):
        return
    rows = features(split.operands[0])
    if rows is None:
        return
    parts = list(op.operation.results)
    sizes = [_width(part) for part in parts]
    offsets = accumulate(sizes[:-1], initial=0)
    slices = [Slice(rows, offset=o, size=n).out for o, n in zip(offsets, sizes, strict=True)]
    replace(op, *(as_torch(s, p.type) for s, p in zip(slices, parts, strict=True)))


def _width(value: Value) -> int:
    sizes = shape(value)
    return sizes[1] if arrangement(sizes) is Arrangement.FEATURES_FIRST else sizes[-1]


def _is_last(x: Value, dim: Value) -> bool:
    """Return whether `dim` is that of the features of `x`, heads not split off."""
    sizes, index = shape(x), integer(dim)
    if index is None:
        return False
    match arrangement(sizes):
        case Arrangement.FEATURES:
            return index % len(sizes) == len(sizes) - 1
        case Arrangement.FEATURES_FIRST:
            return index % len(sizes) == 1
        case _:
            return False
