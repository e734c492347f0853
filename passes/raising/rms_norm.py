"""Raises the root mean square norm, over all features or over each head alone."""

from ingot.ir import RmsNorm, Value, torch_dialect
from ingot.passes.bridging import (
    as_torch,
    features,
    heads,
    integers,
    is_number,
    number,
    same,
    shape,
    weight,
)
from ingot.passes.core import pattern, producer, replace


@pattern(benefit=2)
def rms_norm(op: torch_dialect.AtenMulTensorOp) -> None:
    """`w * (x * rsqrt(mean(x^2) + eps))`, the factors in either order."""
    for scale, factor in (op.operands, reversed(op.operands)):
        w, matched = weight(scale), normed_by(factor)
        if w is None or matched is None:
            continue
        x, eps = matched
        split = heads(x)
        if split is None or shape(scale) != (split[1],):
            continue
        rows = features(x)
        if rows is not None:
            replace(op, as_torch(RmsNorm(rows, w, eps=eps, heads=split[0]).out, op.result.type))
        return


def normed_by(value: Value) -> tuple[Value, float] | None:
    """Return x and eps if `value` is `x * rsqrt(mean(x^2) + eps)`."""
    product = producer(same(value), torch_dialect.AtenMulTensorOp)
    if product is None:
        return None
    for x, factor in (product.operands, reversed(product.operands)):
        root = producer(same(factor), torch_dialect.AtenRsqrtOp)
        if root is None:
            continue
        eps = _mean_square_of(same(root.operands[0]), same(x))
        if eps is not None:
            return same(x), eps
    return None


def _mean_square_of(value: Value, x: Value) -> float | None:
    """Return eps if `value` is `mean(x^2, -1, keepdim) + eps`."""
    shifted = producer(value, torch_dialect.AtenAddScalarOp)
    if shifted is None or not is_number(shifted.operands[2], 1):
        return None
    eps = number(shifted.operands[1])
    mean = producer(same(shifted.operands[0]), torch_dialect.AtenMeanDimOp)
    if eps is None or mean is None or number(mean.operands[2]) is not True:
        return None
    if integers(mean.operands[1]) not in ([-1], [len(shape(x)) - 1]):
        return None
    return float(eps) if _squares(same(mean.operands[0]), x) else None


def _squares(value: Value, x: Value) -> bool:
    power = producer(value, torch_dialect.AtenPowTensorScalarOp)
    if power is not None:
        return is_number(power.operands[1], 2) and same(power.operands[0]) == x
    product = producer(value, torch_dialect.AtenMulTensorOp)
    return product is not None and all(same(factor) == x for factor in product.operands)
