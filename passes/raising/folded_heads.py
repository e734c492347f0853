"""Unfolds heads that a model folds into the tokens to treat each alone, as gated norms do.

`view(x, [-1, D])` of x `[1, T, H, D]`, or of `[1, T, H·D]`, has T·H rows, which nothing may take
for tokens.  What a model computes on such rows alone is computed on x instead, until the heads are
unfolded again.
"""

from dataclasses import dataclass
from math import prod

from ingot.ir import DYNAMIC, OpView, Value, torch_dialect
from ingot.passes.bridging import TorchTensor, integers, same, shape, torch_tensor, viewed
from ingot.passes.core import pattern, producer, replace

_VIEWS = torch_dialect.AtenViewOp | torch_dialect.AtenReshapeOp | torch_dialect.Aten_UnsafeViewOp


@pattern(benefit=4)
def unfold(op: torch_dialect.AtenViewOp | torch_dialect.AtenReshapeOp) -> None:
    """A view of folded heads that has the tokens for itself again."""
    fold, sizes = folded(op.operands[0]), shape(op.result)
    if fold is not None and sizes[:2] == (1, DYNAMIC) and sizes.count(DYNAMIC) == 1:
        replace(op, viewed(fold.x, sizes))


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


@dataclass(frozen=True)
class Fold:
    """`[T·heads, D]` of x `[1, T, heads, D]` or `[1, T, heads·D]`, with more than one head."""

    x: Value
    heads: int


def folded(value: Value) -> Fold | None:
    """Return what `value` folds the heads of, None if it does not."""
    view = producer(same(value), _VIEWS)
    if view is None:
        return None
    x, sizes = view.operands[0], shape(view.result)
    before = shape(x)
    if before[:2] != (1, DYNAMIC) or len(sizes) != 2 or sizes[0] != DYNAMIC:
        return None
    heads, rest = divmod(prod(before[2:]), sizes[1])
    whole = not rest and before[2:] in ((heads, sizes[1]), (heads * sizes[1],))
    return Fold(x, heads) if whole and heads > 1 else None


def _compute_unfolded(op: OpView) -> None:
    """Replace `op`, if its tensors are folded heads or vectors, by itself on the unfolded ones."""
    operands = list(op.operation.operands)
    tensors = [value for value in operands if torch_tensor(value) is not None]
    folds = {value: fold for value in tensors if (fold := folded(value)) is not None}
    vectors = [value for value in tensors if value not in folds]
    heads = {fold.heads for fold in folds.values()}
    result = torch_tensor(op.operation.results[0])
    if len(heads) != 1 or result is None or any(len(shape(one)) > 1 for one in vectors):
        return
    (count,) = heads
    unfolded = {
        value: viewed(fold.x, (1, DYNAMIC, count, shape(value)[1])) for value, fold in folds.items()
    }
    copy = op.operation.clone()
    for index, operand in enumerate(operands):
        copy.operands[index] = unfolded.get(operand, operand)
    target = TorchTensor((1, DYNAMIC, count, result.shape[-1]), result.element)
    copy.results[0].set_type(target.type(op.operation.context))
    replace(op, viewed(copy.results[0], result.shape))
