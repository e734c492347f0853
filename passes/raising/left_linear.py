"""Raises matrix products whose weight stands on the left of features that stand before tokens."""

from ingot.ir import Linear, torch_dialect
from ingot.passes.bridging import Arrangement, arrangement, as_torch, shape, weight
from ingot.passes.core import pattern, replace
from ingot.passes.reading import features


@pattern
def left_linear(op: torch_dialect.AtenMatmulOp) -> None:
    """`aten.matmul(w, x)` with w `[N, K]` and x `[1, K, T]`."""
    w = weight(op.operands[0])
    x = op.operands[1]
    if w is None or arrangement(shape(x)) is not Arrangement.FEATURES_FIRST:
        return
    rows = features(x)
    if rows is not None and len(shape(op.operands[0])) == 2:
        replace(op, as_torch(Linear(rows, w).out, op.result.type))
