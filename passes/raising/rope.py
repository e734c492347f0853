"""Raises rotary positions in the half style: the second half of a head turns against the first."""

from dataclasses import dataclass

from ingot.ir import DYNAMIC, Rope, Value, columns_of, torch_dialect
from ingot.passes.bridging import (
    as_torch,
    features,
    heads,
    indices,
    integer,
    is_number,
    items,
    number,
    same,
    shape,
    weight,
)
from ingot.passes.core import pattern, producer, replace


@dataclass(frozen=True)
class _Angles:
    """cos or sin of `positions * inv_freq`, twice along the last dimension, times `scale`."""

    positions: Value
    inv_freq: Value
    scale: float


@pattern(benefit=2)
def rope(op: torch_dialect.AtenAddTensorOp) -> None:
    """`x * cos + rotate_half(x) * sin` (Su et al., "RoFormer", 2021, in its half form)."""
    if not is_number(op.operands[2], 1):
        return
    for straight, turned in (op.operands[:2], reversed(op.operands[:2])):
        matched = _matched(straight, turned)
        if matched is None:
            continue
        x, angles = matched
        split, rows = heads(x), features(x)
        if split is None or rows is None or 2 * columns_of(angles.inv_freq) != split[1]:
            return
        turned_rows = Rope(
            rows, angles.positions, angles.inv_freq, heads=split[0], scale=angles.scale
        )
        replace(op, as_torch(turned_rows.out, op.result.type))
        return


def _matched(straight: Value, turned: Value) -> tuple[Value, _Angles] | None:
    """Return x and the angles of `x * cos` and `rotate_half(x) * sin`."""
    first = producer(same(straight), torch_dialect.AtenMulTensorOp)
    second = producer(same(turned), torch_dialect.AtenMulTensorOp)
    if first is None or second is None:
        return None
    for x, cosine in (first.operands, reversed(first.operands)):
        for half_turn, sine in (second.operands, reversed(second.operands)):
            if not _turns_half(same(half_turn), same(x)):
                continue
            cos = _angles(cosine, torch_dialect.AtenCosOp, shape(x))
            sin = _angles(sine, torch_dialect.AtenSinOp, shape(x))
            if cos is not None and cos == sin:
                return same(x), cos
    return None


def _turns_half(value: Value, x: Value) -> bool:
    """Return whether `value` is `cat(-x[..., D/2:], x[..., :D/2])`."""
    joined = producer(value, torch_dialect.AtenCatOp)
    if joined is None or integer(joined.operands[1]) not in (-1, len(shape(x)) - 1):
        return False
    parts = items(joined.operands[0])
    if len(parts) != 2:
        return False
    negated = producer(same(parts[0]), torch_dialect.AtenNegOp)
    half, odd = divmod(shape(x)[-1], 2)
    if negated is None or odd:
        return False
    return _is_half(same(negated.operands[0]), x, half) and _is_half(same(parts[1]), x, 0)


def _is_half(value: Value, x: Value, start: int) -> bool:
    """Return whether `value` is the half of the last dimension of `x` from `start`."""
    part = producer(value, torch_dialect.AtenSliceTensorOp)
    if part is None or same(part.operands[0]) != x:
        return False
    _, dim, first, _, step = part.operands
    half = shape(x)[-1] // 2
    return (
        integer(dim) in (-1, len(shape(x)) - 1)
        and integer(first) == start
        and integer(step) == 1
        and shape(value)[-1] == half
    )


def _angles(value: Value, function: type, sizes: tuple[int, ...]) -> _Angles | None:
    """Read `unsqueeze(function(cat(f, f)) * scale)`, which must meet tokens with tokens."""
    spread = producer(same(value), torch_dialect.AtenUnsqueezeOp)
    if spread is None or len(shape(value)) != len(sizes):
        return None
    if shape(value).index(DYNAMIC) != sizes.index(DYNAMIC) or shape(value)[-1] != sizes[-1]:
        return None
    below, scale = same(spread.operands[0]), 1.0
    scaled = producer(below, torch_dialect.AtenMulScalarOp)
    if scaled is not None:
        factor = number(scaled.operands[1])
        if factor is None:
            return None
        below, scale = same(scaled.operands[0]), float(factor)
    wave = producer(below, function)
    if wave is None:
        return None
    joined = producer(same(wave.operands[0]), torch_dialect.AtenCatOp)
    if joined is None or integer(joined.operands[1]) not in (-1, 2):
        return None
    parts = [same(part) for part in items(joined.operands[0])]
    if len(parts) != 2 or parts[0] != parts[1]:
        return None
    return _product(parts[0], scale)


def _product(value: Value, scale: float) -> _Angles | None:
    """Read `float(unsqueeze(positions)) * inv_freq`, the factors in either order."""
    product = producer(value, torch_dialect.AtenMulTensorOp)
    if product is None:
        return None
    for column, frequencies in (product.operands, reversed(product.operands)):
        inv_freq = weight(frequencies)
        cast = producer(same(column), torch_dialect.Aten_ToCopyOp)
        if inv_freq is None or cast is None or len(shape(frequencies)) != 1:
            continue
        spread = producer(same(cast.operands[0]), torch_dialect.AtenUnsqueezeOp)
        if spread is None or integer(spread.operands[1]) not in (2, -1):
            continue
        positions = indices(spread.operands[0])
        if positions is not None:
            return _Angles(positions, inv_freq, scale)
    return None
