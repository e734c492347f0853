"""Writes torch ops that torch-mlir's conversions lack as others that they have."""

from ingot.ir import torch_dialect
from ingot.passes.core import pattern, replace

from .constants import is_number
from .crossing import constant


@pattern
def softplus(op: torch_dialect.AtenSoftplusOp) -> None:
    """`log(1 + exp(x))` as `relu(x) + log1p(exp(-|x|))`, which cannot overflow."""
    x, beta, _ = op.operands
    if not is_number(beta, 1):
        return
    kind = op.result.type
    below = torch_dialect.AtenNegOp(kind, torch_dialect.AtenAbsOp(kind, x).result).result
    small = torch_dialect.AtenLog1pOp(kind, torch_dialect.AtenExpOp(kind, below).result).result
    large = torch_dialect.AtenReluOp(kind, x).result
    total = torch_dialect.AtenAddTensorOp(kind, large, small, constant(1, x))
    replace(op, total.result)
