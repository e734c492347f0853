"""Raises softplus as torch computes it by default."""

from ingot.ir import Activation, torch_dialect
from ingot.passes.bridging import as_torch, is_number
from ingot.passes.core import pattern, replace
from ingot.passes.reading import features


@pattern
def softplus(op: torch_dialect.AtenSoftplusOp) -> None:
    """`aten.softplus(x, 1, 20)`: log(1 + exp(x)), and x above the threshold."""
    x, beta, threshold = op.operands
    if not is_number(beta, 1) or not is_number(threshold, 20):
        return
    rows = features(x)
    if rows is not None:
        replace(op, as_torch(Activation(rows, kind="softplus").out, op.result.type))
