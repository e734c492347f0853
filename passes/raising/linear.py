"""Raises matrix products with a weight, stored by outputs (`[N, K]`) or by inputs (`[K, N]`)."""

from ingot.ir import Convert, Linear, Quant, Transpose, Value, torch_dialect
from ingot.passes.bridging import (
    as_torch,
    heads,
    integers,
    is_none,
    is_number,
    same,
    shape,
    weight,
)
from ingot.passes.core import pattern, replace
from ingot.passes.reading import features


@pattern
def linear(op: torch_dialect.AtenLinearOp) -> None:
    """`aten.linear(x, w, bias)`."""
    x, w, bias = op.operands
    _raise(op, x, weight(w), bias)


@pattern
def addmm(op: torch_dialect.AtenAddmmOp) -> None:
    """`aten.addmm(bias, x, w)` with w `[K, N]`, as GPT-2's Conv1D computes it."""
    bias, x, w, beta, alpha = op.operands
    if is_number(beta, 1) and is_number(alpha, 1):
        _raise(op, x, _by_outputs(w), bias)


@pattern
def mm(op: torch_dialect.AtenMmOp | torch_dialect.AtenMatmulOp) -> None:
    """`aten.mm(x, w)` and `aten.matmul(x, w)` with w `[K, N]`."""
    x, w = op.operands
    _raise(op, x, _by_outputs(w), None)


def _raise(op: torch_dialect.AtenLinearOp, x: Value, w: Value | None, bias: Value | None) -> None:
    """Replace `op` by a linear on w `[N, K]`, if x, w and bias are what that takes."""
    if w is None or (heads(x) or (0, 0))[0] != 1:
        return
    bias_weight = None
    if bias is not None and not is_none(bias):
        bias_weight = weight(bias)
        if bias_weight is None or len(shape(bias)) != 1:
            return
    rows = features(x)
    if rows is not None:
        replace(op, as_torch(Linear(rows, w, bias_weight).out, op.result.type))


def _by_outputs(value: Value) -> Value | None:
    """Return the weight `[N, K]` of a torch matrix `[K, N]`, transposing what is stored."""
    below = same(value)
    if _transposes_matrix(below):
        return weight(below.owner.operands[0])
    stored = weight(value)
    if stored is None or len(shape(value)) != 2:
        return None
    if isinstance(stored.type, Quant):
        # Its groups lie along what becomes the rows: they cannot be kept.
        stored = Convert(stored).out
    return Transpose(stored).out


def _transposes_matrix(value: Value) -> bool:
    owner = value.owner
    if isinstance(owner, torch_dialect.AtenTOp):
        return True
    if isinstance(owner, torch_dialect.AtenTransposeIntOp):
        return len(shape(value)) == 2
    return isinstance(owner, torch_dialect.AtenPermuteOp) and integers(owner.operands[1]) == [1, 0]
