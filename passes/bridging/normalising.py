"""Recognises what the norms that models spell out divide by: the root of a mean of squares."""

from ingot.ir import Value, torch_dialect
from ingot.passes.core import producer

from .constants import integers, is_number, number
from .crossing import same
from .shapes import shape


def normed_by(value: Value) -> tuple[Value, float] | None:
    """Return x and eps if `value` is `x / sqrt(mean(x^2) + eps)`, the mean over its last dimension.

    The root may be `rsqrt`, a power, or a division by `sqrt`.
    """
    value = same(value)
    quotient = producer(value, torch_dialect.AtenDivTensorOp)
    if quotient is not None:
        return _checked(quotient.operands[0], _sqrt(quotient.operands[1]))
    product = producer(value, torch_dialect.AtenMulTensorOp)
    if product is None:
        return None
    for x, factor in (product.operands, reversed(product.operands)):
        found = _checked(x, _inverse_root(factor))
        if found is not None:
            return found
    return None


def mean_of(value: Value) -> Value | None:
    """Return x if `value` is its mean over the last dimension, which stays with size 1."""
    mean = producer(same(value), torch_dialect.AtenMeanDimOp)
    if mean is None or number(mean.operands[2]) is not True:
        return None
    x = same(mean.operands[0])
    return x if integers(mean.operands[1]) in ([-1], [len(shape(x)) - 1]) else None


def centred(value: Value) -> Value | None:
    """Return x if `value` is `x - mean(x)`, the mean over the last dimension."""
    difference = producer(same(value), torch_dialect.AtenSubTensorOp)
    if difference is None or not is_number(difference.operands[2], 1):
        return None
    x = same(difference.operands[0])
    return x if mean_of(difference.operands[1]) == x else None


def _checked(x: Value, below: Value | None) -> tuple[Value, float] | None:
    """Return x and eps if `below` is `mean(x^2) + eps`."""
    shifted = None if below is None else producer(same(below), torch_dialect.AtenAddScalarOp)
    if shifted is None or not is_number(shifted.operands[2], 1):
        return None
    squares, eps = mean_of(shifted.operands[0]), number(shifted.operands[1])
    if squares is None or eps is None or not _squares(squares, same(x)):
        return None
    return same(x), float(eps)


def _inverse_root(value: Value) -> Value | None:
    """Return y if `value` is `1 / sqrt(y)`."""
    value = same(value)
    root = producer(value, torch_dialect.AtenRsqrtOp)
    if root is not None:
        return same(root.operands[0])
    power = producer(value, torch_dialect.AtenPowTensorScalarOp)
    if power is not None:
        return same(power.operands[0]) if is_number(power.operands[1], -0.5) else None
    inverse = producer(value, torch_dialect.AtenReciprocalOp)
    return None if inverse is None else _sqrt(inverse.operands[0])


def _sqrt(value: Value) -> Value | None:
    root = producer(same(value), torch_dialect.AtenSqrtOp)
    if root is not None:
        return same(root.operands[0])
    power = producer(same(value), torch_dialect.AtenPowTensorScalarOp)
    known = power is not None and is_number(power.operands[1], 0.5)
    return same(power.operands[0]) if power is not None and known else None


def _squares(value: Value, x: Value) -> bool:
    power = producer(value, torch_dialect.AtenPowTensorScalarOp)
    if power is not None:
        return is_number(power.operands[1], 2) and same(power.operands[0]) == x
    square = producer(value, torch_dialect.AtenSquareOp)
    if square is not None:
        return bool(same(square.operands[0]) == x)
    product = producer(value, torch_dialect.AtenMulTensorOp)
    return product is not None and all(same(factor) == x for factor in product.operands)
