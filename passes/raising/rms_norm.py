"""Raises the norms that models spell out, over all features or over each head alone.

They divide by the root of the mean square of x, or of x less its mean (the layer norm).
"""

from ingot.ir import Fill, LayerNorm, RmsNorm, Value, torch_dialect
from ingot.passes.bridging import as_torch, centred, heads, normed_by, shape, weight
from ingot.passes.core import pattern, replace
from ingot.passes.reading import features


@pattern(benefit=3)
def rms_norm(op: torch_dialect.AtenMulTensorOp) -> None:
    """`w * (x / sqrt(mean(x^2) + eps))`, the factors in either order."""
    for scale, normed in (op.operands, reversed(op.operands)):
        w, matched = weight(scale), normed_by(normed)
        if w is not None and matched is not None:
            _raise(op, matched, w, shape(scale))
            return


@pattern(benefit=2)
def bare_norm(op: torch_dialect.AtenMulTensorOp | torch_dialect.AtenDivTensorOp) -> None:
    """`x / sqrt(mean(x^2) + eps)`, without a weight or before one that is none of this norm's."""
    matched = normed_by(op.result)
    split = None if matched is None else heads(matched[0])
    if matched is not None and split is not None:
        ones = Fill(op.context, value=1.0, size=split[1]).out
        _raise(op, matched, ones, (split[1],))


def _raise(
    op: torch_dialect.AtenMulTensorOp,
    matched: tuple[Value, float],
    w: Value,
    sizes: tuple[int, ...],
) -> None:
    """Replace `op` by the norm, if the weight of `sizes` fits what is normalised."""
    x, eps = matched
    below = centred(x)
    x = x if below is None else below
    split = heads(x)
    if split is None or sizes != (split[1],) or shape(op.result) != shape(x):
        return
    rows = features(x)
    if rows is None:
        return
    if below is None:
        norm = RmsNorm(rows, w, eps=eps, heads=split[0]).out
    else:
        norm = LayerNorm(rows, w, eps=eps, heads=split[0]).out
    replace(op, as_torch(norm, op.result.type))
