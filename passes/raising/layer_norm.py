"""Raises the layer norm over all features, or over each head alone."""

from ingot.ir import Fill, LayerNorm, torch_dialect
from ingot.passes.bridging import as_torch, heads, integers, is_none, number, weight
from ingot.passes.core import pattern, replace
from ingot.passes.reading import features


@pattern
def layer_norm(op: torch_dialect.AtenLayerNormOp) -> None:
    """`aten.layer_norm(x, [D], w, b, eps)`, w and b of which may be missing."""
    x, normalized, scale, shift, eps, _ = op.operands
    split, epsilon = heads(x), number(eps)
    if split is None or epsilon is None or integers(normalized) != [split[1]]:
        return
    ones = is_none(scale)
    w = Fill(op.context, value=1.0, size=split[1]).out if ones else weight(scale)
    bias = None if is_none(shift) else weight(shift)
    if w is None or (bias is None and not is_none(shift)):
        return
    rows = features(x)
    if rows is not None:
        norm = LayerNorm(rows, w, bias, eps=float(epsilon), heads=split[0])
        replace(op, as_torch(norm.out, op.result.type))
