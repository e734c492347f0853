"""Operations on single elements, and those that move or choose columns and rows."""

from collections.abc import Callable, Mapping
from math import sqrt

import numpy as np

from ingot.ir import (
    Activation,
    Add,
    AddConstant,
    Arrange,
    Glu,
    L2Normalize,
    Mul,
    Piece,
    Round,
    Scale,
    SelectRows,
    Shift,
    Slice,
    Softcap,
    Value,
    is_weight_expression,
    parse_pieces,
)
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

from .context import Context


def _erf(x: Array) -> Array:
    """Return the error function, by the rational approximation that Eigen has for float32."""
    x = hlo.maximum(hlo.minimum(x, 3.832506856900711), -3.832506856900711)
    square = x * x
    above = _polynomial(square, _ERF_ABOVE)
    return x * above / _polynomial(square, _ERF_BELOW)


_ERF_ABOVE = (
    0.00022905065861350646,
    0.0034082910107109506,
    0.050955695062380861,
    0.18520832239976145,
    1.128379143519084,
)
_ERF_BELOW = (
    -1.1791602954361697e-7,
    0.000023547966471313185,
    0.0010179625278914885,
    0.014070470171167667,
    0.11098505178285362,
    0.49746925110067538,
    1.0,
)


def _polynomial(x: Array, factors: tuple[float, ...]) -> Array:
    """Return the polynomial with these factors, that of the highest power first."""
    total = hlo.full(x.shape, factors[0])
    for factor in factors[1:]:
        total = total * x + factor
    return total


def _gelu_tanh(x: Array) -> Array:
    return x * 0.5 * (hlo.tanh((x + x * x * x * 0.044715) * sqrt(2 / np.pi)) + 1.0)


def _relu(x: Array) -> Array:
    return hlo.maximum(x, 0.0)


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "silu": lambda x: x * hlo.sigmoid(x),
    "gelu": lambda x: x * 0.5 * (_erf(x * sqrt(0.5)) + 1.0),
    "gelu_tanh": _gelu_tanh,
    "relu": _relu,
    "relu2": lambda x: _relu(x) * _relu(x),
    "sigmoid": hlo.sigmoid,
    "tanh": hlo.tanh,
    "softplus": lambda x: hlo.log1p(hlo.exp(-hlo.absolute(x))) + _relu(x),
}


def lower_activation(context: Context, op: Activation) -> None:
    context.values[op.out] = ACTIVATIONS[op.kind](context.values[op.x])


def lower_glu(context: Context, op: Glu) -> None:
    y = ACTIVATIONS[op.kind](context.values[op.gate]) * context.values[op.up]
    context.set_result(op.out, y)


def lower_add(context: Context, op: Add) -> None:
    context.values[op.out] = context.values[op.x] + _operand(context, op.y)


def lower_mul(context: Context, op: Mul) -> None:
    context.values[op.out] = context.values[op.x] * _operand(context, op.y)


def _operand(context: Context, value: Value) -> Array:
    return context.vector(value) if is_weight_expression(value) else context.values[value]


def lower_scale(context: Context, op: Scale) -> None:
    context.values[op.out] = context.values[op.x] * op.factor


def lower_add_constant(context: Context, op: AddConstant) -> None:
    context.values[op.out] = context.values[op.x] + op.constant


def lower_softcap(context: Context, op: Softcap) -> None:
    context.values[op.out] = hlo.tanh(context.values[op.x] / op.cap) * op.cap


def lower_l2_normalize(context: Context, op: L2Normalize) -> None:
    x = context.values[op.x]
    context.values[op.out] = x / hlo.maximum(hlo.sqrt((x * x).sum()), op.eps)


def lower_round(context: Context, op: Round) -> None:
    context.set_result(op.out, context.values[op.x])


def lower_shift(context: Context, op: Shift) -> None:
    context.values[op.out] = context.values[op.indices] + op.offset


def lower_slice(context: Context, op: Slice) -> None:
    context.values[op.out] = context.values[op.x][:, op.offset : op.offset + op.size]


def lower_select_rows(context: Context, op: SelectRows) -> None:
    context.values[op.out] = hlo.take(context.values[op.x], context.inputs.rows)


def lower_arrange(context: Context, op: Arrange) -> None:
    operands = [context.values[part] for part in op.parts]
    pieces = [_piece(operands[p.operand], p, op.heads) for p in parse_pieces(op.pieces)]
    joined = hlo.concatenate(pieces, 2)
    context.values[op.out] = joined.reshape(joined.shape[0], -1)


def _piece(x: Array, piece: Piece, heads: int) -> Array:
    """Return the columns of one piece, `[T, heads, size]`: a slice wherever they lie regularly."""
    rows, span = x.shape[0], (piece.size - 1) * piece.step + 1
    if piece.stride == 0 and piece.step > 0:
        one = x[:, piece.offset : piece.offset + span : piece.step]
        return one[:, None].broadcast(rows, heads, piece.size)
    if 0 < span <= piece.stride and piece.step > 0:
        end = piece.offset + heads * piece.stride
        apart = hlo.pad(x, 1, max(0, end - x.shape[1]))[:, piece.offset : end]
        return apart.reshape(rows, heads, piece.stride)[:, :, 0 : span : piece.step]
    columns = piece.columns(heads).flatten().numpy().astype(np.int32)
    taken = hlo.take(x.transpose(1, 0), hlo.constant(columns))
    return taken.transpose(1, 0).reshape(rows, heads, piece.size)
