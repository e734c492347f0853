"""Raises arithmetic on parameters alone to weight expressions, such as the `1 + w` of a norm."""

from ingot.ir import AddConstant, Reshape, Scale, ToTorch, Value, torch_dialect
from ingot.passes.bridging import is_number, number, shape, weight
from ingot.passes.core import pattern, replace


@pattern(benefit=3)
def shifted(op: torch_dialect.AtenAddScalarOp) -> None:
    """`w + constant`."""
    w, constant = weight(op.operands[0]), number(op.operands[1])
    if w is None or constant is None or not is_number(op.operands[2], 1):
        return
    replace(op, ToTorch(AddConstant(w, constant=float(constant)).out).out)


@pattern(benefit=3)
def scaled(op: torch_dialect.AtenMulScalarOp | torch_dialect.AtenDivScalarOp) -> None:
    """`w * factor` and `w / factor`."""
    w, factor = _float(op.operands[0]), number(op.operands[1])
    if w is None or factor is None:
        return
    if isinstance(op, torch_dialect.AtenDivScalarOp):
        factor = 1 / factor
    replace(op, ToTorch(Scale(w, factor=float(factor)).out).out)


@pattern(benefit=3)
def reshaped(op: torch_dialect.AtenViewOp | torch_dialect.AtenReshapeOp) -> None:
    """A parameter in other dimensions."""
    w = _float(op.operands[0])
    if w is not None:
        replace(op, ToTorch(Reshape(w, shape(op.result)).out).out)


def _float(value: Value) -> Value | None:
    """Return the float32 weight that `value` is, None if it is none."""
    bridge = value.owner
    return bridge.x if weight(value) is not None and isinstance(bridge, ToTorch) else None
