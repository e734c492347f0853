"""What products, sums, cos and sin make of forms: waves, and the features that they turn."""

from collections.abc import Mapping

import numpy as np

from ingot.ir import OpView, Value, torch_dialect
from ingot.passes.bridging import indices, is_number, items, number, torch_tensor

from .forms import ANGLE, COS, NOTHING, PLAIN, SIN, Form, added, joined, product
from .moving import MOVES, SPLITS
from .walking import Rule, Walk

_DEEPEST = 40


def is_wave(value: Value, depth: int = _DEEPEST) -> bool:
    """Return whether `value` is cos or sin of something, or that thing's complex form, moved."""
    op = value.owner
    if not isinstance(op, OpView) or depth == 0:
        return False
    name = op.operation.name
    if name in _WAVES:
        return True
    if isinstance(op, torch_dialect.AtenCatOp | torch_dialect.AtenStackOp):
        return all(is_wave(item, depth - 1) for item in items(op.operands[0]))
    if isinstance(op, torch_dialect.PrimListUnpackOp):
        split = op.operands[0].owner
        known = isinstance(split, OpView) and split.operation.name in SPLITS
        return known and is_wave(split.operation.operands[0], depth - 1)
    passed = name in MOVES or name in _FACTORS
    return passed and is_wave(op.operation.operands[0], depth - 1)


def _is_position(value: Value) -> bool:
    """Return whether `value` is the positions as floats, moved."""
    while isinstance(op := value.owner, OpView) and op.operation.name in MOVES:
        value = op.operation.operands[0]
    tensor = torch_tensor(value)
    return tensor is not None and tensor.element == "si64" and indices(value) is not None


_WAVES = ("torch.aten.cos", "torch.aten.sin", "torch.aten.polar")
_FACTORS = ("torch.aten.mul.Scalar", "torch.aten.div.Scalar", "torch.aten.neg")


def _multiply(walk: Walk, op: OpView, depth: int) -> Form | None:
    """A product with a wave, or of positions and frequencies; any other makes new features."""
    x, y = op.operation.operands
    known = is_wave(x) or is_wave(y) or _is_position(x) or _is_position(y)
    if not known:
        return None
    left, right = walk(x, depth - 1), walk(y, depth - 1)
    return None if left is None or right is None else product(left, right)


def _turned(value: Value) -> bool:
    """Return whether `value` is a product with a wave, moved."""
    op = value.owner
    while isinstance(op, OpView) and (op.operation.name in MOVES or op.operation.name in _FACTORS):
        op = op.operation.operands[0].owner
    return isinstance(op, torch_dialect.AtenMulTensorOp) and any(map(is_wave, op.operands))


def _add(walk: Walk, op: OpView, depth: int) -> Form | None:
    """A sum of products with waves; any other makes new features."""
    x, y, alpha = op.operation.operands
    if not (_turned(x) and _turned(y) and is_number(alpha, 1)):
        return None
    left, right = walk(x, depth - 1), walk(y, depth - 1)
    if left is None or right is None:
        return None
    sign = -1 if isinstance(op, torch_dialect.AtenSubTensorOp) else 1
    return added(left, right.times(sign))


def _factor(walk: Walk, op: OpView, depth: int) -> Form | None:
    """A product with a number: of waves, or minus one in a rotation; else new features."""
    operands = list(op.operation.operands)
    factor = -1.0 if isinstance(op, torch_dialect.AtenNegOp) else number(operands[1])
    if factor is None or not (isinstance(op, torch_dialect.AtenNegOp) or is_wave(operands[0])):
        return None
    x = walk(operands[0], depth - 1)
    divides = isinstance(op, torch_dialect.AtenDivScalarOp)
    return None if x is None else x.times(1 / factor if divides else float(factor))


def _wave(walk: Walk, op: OpView, depth: int) -> Form | None:
    """cos and sin of angles."""
    x = walk(op.operation.operands[0], depth - 1)
    kind = COS if isinstance(op, torch_dialect.AtenCosOp) else SIN
    return None if x is None else _wave_of(x, kind)


def _wave_of(x: Form, kind: int) -> Form | None:
    plain = (x.coefficient[..., 0] == 1) & (x.feature[..., 0] == NOTHING)
    if x.imaginary or x.waves() != {ANGLE} or not plain.all() or x.present[..., 1:].any():
        return None
    return Form(x.coefficient, x.feature, np.where(x.present, x.wave - ANGLE + kind, PLAIN))


def _polar(walk: Walk, op: OpView, depth: int) -> Form | None:
    """`cos(angle) + i sin(angle)`, of length one."""
    length, angle = (walk(one, depth - 1) for one in op.operation.operands)
    if length is None or angle is None or length.waves() != {PLAIN}:
        return None
    if not ((length.feature == NOTHING).all() and (length.coefficient[..., 0] == 1).all()):
        return None
    real, imaginary = _wave_of(angle, COS), _wave_of(angle, SIN)
    if real is None or imaginary is None:
        return None
    return Form(real.coefficient, real.feature, real.wave, imaginary)


def _as_complex(walk: Walk, op: OpView, depth: int) -> Form | None:
    x = walk(op.operation.operands[0], depth - 1)
    if x is None:
        return None
    real, imaginary = x.moved(lambda places: places[..., 0]), x.moved(lambda places: places[..., 1])
    return Form(real.coefficient, real.feature, real.wave, imaginary)


def _as_real(walk: Walk, op: OpView, depth: int) -> Form | None:
    x = walk(op.operation.operands[0], depth - 1)
    if x is None or x.imaginary is None:
        return None
    parts = (x.real, x.imaginary)
    return joined([part.moved(lambda places: places[..., None]) for part in parts], -1)


WAVE_RULES: Mapping[str, Rule] = {
    f"torch.aten.{name}": rule
    for rule, names in (
        (_multiply, "mul.Tensor"),
        (_add, "add.Tensor sub.Tensor"),
        (_factor, "neg mul.Scalar div.Scalar"),
        (_wave, "cos sin"),
        (_polar, "polar"),
        (_as_complex, "view_as_complex"),
        (_as_real, "view_as_real"),
    )
    for name in names.split()
}
