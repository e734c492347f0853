"""Raises the root mean square norm of groups of features, with a weight for every feature."""

from ingot.ir import Fill, Mul, RmsNorm, Value, torch_dialect
from ingot.passes.bridging import as_torch, heads, normed_by, same, shape, weight
from ingot.passes.core import pattern, producer, replace
from ingot.passes.reading import features

_Views = torch_dialect.AtenViewOp | torch_dialect.AtenReshapeOp


@pattern(benefit=3)
def grouped_norm(op: torch_dialect.AtenMulTensorOp) -> None:
    """`w * view(x * rsqrt(mean(x^2) + eps))`, x split into groups of features before."""
    for scale, joined in (op.operands, reversed(op.operands)):
        w, view = weight(scale), producer(same(joined), _Views)
        found = None if w is None or view is None else normed_by(view.operands[0])
        if w is None or found is None:
            continue
        _raise(op, w, found)
        return


def _raise(op: torch_dialect.AtenMulTensorOp, w: Value, found: tuple[Value, float]) -> None:
    x, eps = found
    split = heads(x)
    if split is None or shape(op.result)[-1] != split[0] * split[1]:
        return
    rows = features(x)
    if rows is None:
        return
    count, size = split
    if count == 1:
        result = RmsNorm(rows, w, eps=eps).out
    else:
        ones = Fill(op.context, value=1.0, size=size).out
        result = Mul(RmsNorm(rows, ones, eps=eps, heads=count).out, w).out
    replace(op, as_torch(result, op.result.type))
