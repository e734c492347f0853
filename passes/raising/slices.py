"""Raises taking a range of the features: slices, and splits into several."""

from itertools import accumulate

from ingot.ir import Slice, Value, torch_dialect
from ingot.passes.bridging import Arrangement, arrangement, as_torch, features, integer, shape
from ingot.passes.core import pattern, producer, replace

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
        part = Slice(rows, offset=offset, size=shape(op.result)[-1])
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
    sizes = [shape(part)[-1] for part in parts]
    offsets = accumulate(sizes[:-1], initial=0)
    slices = [Slice(rows, offset=o, size=n).out for o, n in zip(offsets, sizes, strict=True)]
    replace(op, *(as_torch(s, p.type) for s, p in zip(slices, parts, strict=True)))


def _is_last(x: Value, dim: Value) -> bool:
    """Return whether `dim` is that of the features of `x`, heads not split off."""
    sizes = shape(x)
    is_features = arrangement(sizes) is Arrangement.FEATURES
    return is_features and integer(dim) in (-1, len(sizes) - 1)
