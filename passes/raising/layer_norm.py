"""Raises the layer norm over all features."""

from ingot.ir import LayerNorm, torch_dialect
from ingot.passes.bridging import (
    Arrangement,
    arrangement,
    as_torch,
    features,
    integers,
    is_none,
    number,
    shape,
    weight,
)
from ingot.passes.core import pattern, replace


@pattern
def layer_norm(op: torch_dialect.AtenLayerNormOp) -> None:
    """`aten.layer_norm(x, [F], w, b, eps)`; a norm without w stays in torch."""
    x, normalized, scale, shift, eps, _ = op.operands
    w = weight(scale)
    if w is None or arrangement(shape(x)) is not Arrangement.FEATURES:
        return
    bias = None if is_none(shift) else weight(shift)
    if bias is None and not is_none(shift):
        return
    rows, epsilon = features(x), number(eps)
    if rows is None or epsilon is None or integers(normalized) != [shape(x)[-1]]:
        return
    replace(op, as_torch(LayerNorm(rows, w, bias, eps=float(epsilon)).out, op.result.type))
