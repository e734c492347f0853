"""Raises sums and products of activations, with each other, with a parameter or with a constant."""

from ingot.ir import Add, Mul, Scale, Value, torch_dialect
from ingot.passes.bridging import as_torch, is_number, number, shape
from ingot.passes.core import pattern, replace
from ingot.passes.reading import features, is_turned, spread, turns


@pattern
def add(op: torch_dialect.AtenAddTensorOp) -> None:
    """`aten.add.Tensor`: residual connections and added parameters."""
    x, y, alpha = op.operands
    pair = _pair(x, y) if is_number(alpha, 1) and not turns(op.result) else None
    if pair is not None:
        replace(op, as_torch(Add(*pair).out, op.result.type))


@pattern
def mul(op: torch_dialect.AtenMulTensorOp) -> None:
    """`aten.mul.Tensor`."""
    pair = None if turns(op.result) else _pair(*op.operands)
    if pair is not None:
        replace(op, as_torch(Mul(*pair).out, op.result.type))


@pattern
def negation(op: torch_dialect.AtenNegOp) -> None:
    """`aten.neg`, unless it is part of a rotation."""
    part = turns(op.result) or is_turned(op.result)
    rows = None if part else features(op.operands[0])
    if rows is not None:
        replace(op, as_torch(Scale(rows, factor=-1.0).out, op.result.type))


@pattern
def scale(op: torch_dialect.AtenMulScalarOp | torch_dialect.AtenDivScalarOp) -> None:
    """`aten.mul.Scalar` and `aten.div.Scalar`."""
    factor = number(op.operands[1])
    rows = None if turns(op.result) else features(op.operands[0])
    if factor is None or rows is None:
        return
    if isinstance(op, torch_dialect.AtenDivScalarOp):
        factor = 1 / factor
    replace(op, as_torch(Scale(rows, factor=float(factor)).out, op.result.type))


def _pair(x: Value, y: Value) -> tuple[Value, Value] | None:
    """Return two activations of one shape, or an activation and a parameter over its features.

    One that has size 1 where the other has more is repeated; both have a place for the tokens, or
    the one that has none is a parameter.
    """
    if shape(x) == shape(y):
        rows, others = features(x), features(y)
        return None if rows is None or others is None else (rows, others)
    for wide, narrow in ((x, y), (y, x)):
        other = spread(narrow, wide)
        rows = None if other is None else features(wide)
        if other is not None and rows is not None:
            return rows, other
    return None
