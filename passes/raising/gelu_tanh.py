"""Raises GELU by tanh where the model spells it out, as GPT-2 does."""

from math import pi, sqrt

from ingot.ir import Activation, Value, torch_dialect
from ingot.passes.bridging import as_torch, is_number, same
from ingot.passes.core import pattern, producer, replace
from ingot.passes.reading import features


@pattern(benefit=2)
def gelu_tanh(op: torch_dialect.AtenMulTensorOp) -> None:
    """`(x * 0.5) * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))` (Hendrycks and Gimpel, 2016)."""
    for half, gate in (op.operands, reversed(op.operands)):
        x = _scaled(half, 0.5)
        if x is not None and _is_gate(gate, x):
            rows = features(x)
            if rows is not None:
                replace(op, as_torch(Activation(rows, kind="gelu_tanh").out, op.result.type))
            return


def _scaled(value: Value, factor: float) -> Value | None:
    """Return x if `value` is `x * factor`."""
    product = producer(same(value), torch_dialect.AtenMulScalarOp)
    if product is None or not is_number(product.operands[1], factor):
        return None
    return same(product.operands[0])


def _is_gate(value: Value, x: Value) -> bool:
    """Return whether `value` is `1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))`."""
    shifted = producer(same(value), torch_dialect.AtenAddScalarOp)
    if shifted is None or not all(is_number(shifted.operands[i], 1) for i in (1, 2)):
        return False
    tanh = producer(same(shifted.operands[0]), torch_dialect.AtenTanhOp)
    inner = None if tanh is None else _scaled(tanh.operands[0], sqrt(2 / pi))
    total = None if inner is None else producer(inner, torch_dialect.AtenAddTensorOp)
    if total is None or not is_number(total.operands[2], 1) or same(total.operands[0]) != x:
        return False
    cube = _scaled(total.operands[1], 0.044715)
    power = None if cube is None else producer(cube, torch_dialect.AtenPowTensorScalarOp)
    return power is not None and is_number(power.operands[1], 3) and same(power.operands[0]) == x
