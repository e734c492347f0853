"""Unfolds heads that a model folds into the tokens to treat each alone, as gated norms do.

`view(x, [-1, D])` of x `[1, T, H, D]` has T·H rows, which nothing may take for tokens.  What a
model computes on such rows alone is computed on x instead, until the heads are unfolded again.
"""

from ingot.ir import DYNAMIC, OpView, Value, torch_dialect
from ingot.passes.bridging import TorchTensor, integers, same, shape, torch_tensor, viewed
from ingot.passes.core import pattern, producer, replace

_VIEWS = torch_dialect.AtenViewOp | torch_dialect.AtenReshapeOp | torch_dialect.Aten_UnsafeViewOp


@pattern(benefit=4)
def unfold(op: torch_dialect.AtenViewOp | torch_dialect.AtenReshapeOp) -> None:
    """A view of folded heads that has the tokens for itself again."""
    x, sizes = folded(op.operands[0]), shape(op.result)
    if x is not None and sizes[:2] == (1, DYNAMIC) and sizes.count(DYNAMIC) == 1:
        replace(op, viewed(x, sizes))


@pattern(benefit=4)
def elementwise(
    op: torch_dialect.AtenPowTensorScalarOp
    | torch_dialect.AtenAddScalarOp
    | torch_dialect.AtenAddTensorOp
    | torch_dialect.AtenMulScalarOp
    | torch_dialect.AtenMulTensorOp
    | torch_dialect.AtenDivTensorOp
    | torch_dialect.AtenRsqrtOp
    | torch_dialect.AtenSqrtOp
    | torch_dialect.AtenReciprocalOp
    | torch_dialect.AtenSiluOp
    | torch_dialect.AtenSigmoidOp,
) -> None:
    """An operation on every element of folded heads."""
    _compute_unfolded(op)


@pattern(benefit=4)
def mean(op: torch_dialect.AtenMeanDimOp) -> None:
    """`aten.mean.dim` over the features of folded heads."""
    if integers(op.operands[1]) == [-1]:
        _compute_unfolded(op)


def folded(value: Value) -> Value | None:
    """Return x `[1, T, H, D]` if `value` is `[T·H, D]` of it with more than one head."""
    view = producer(same(value), _VIEWS)
    if view is None:
        return None
    x, sizes = view.operands[0], shape(view.result)
    before = shape(x)
    folds = len(before) == 4 and before[:2] == (1, DYNAMIC) and before[2] > 1
    return x if folds and sizes == (DYNAMIC, before[3]) else None


def _compute_unfolded(op: OpView) -> None:
    """Replace `op`, if its tensors are folded heads or vectors, by itself on the unfolded ones."""
    operands = list(op.operation.operands)
    tensors = [value for value in operands if torch_tensor(value) is not None]
    unfolded = {value: x for value in tensors if (x := folded(value)) is not None}
    vectors = [value for value in tensors if value not in unfolded]
    heads = {shape(x)[2] for x in unfolded.values()}
    result = torch_tensor(op.operation.results[0])
    if len(heads) != 1 or result is None or any(len(shape(one)) > 1 for one in vectors):
        return
    copy = op.operation.clone()
    for index, operand in enumerate(operands):
        copy.operands[index] = unfolded.get(operand, operand)
    target = TorchTensor((1, DYNAMIC, heads.pop(), result.shape[-1]), result.element)
    copy.results[0].set_type(target.type(op.operation.context))
    replace(op, viewed(copy.results[0], result.shape))
