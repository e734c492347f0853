"""Raises rotary positions, by whichever torch ops a model turns the features of its heads."""

from ingot.ir import OpView, Value, torch_dialect
from ingot.passes.bridging import as_torch, rotation, turns
from ingot.passes.core import pattern, replace


@pattern(benefit=3)
def rope(
    op: torch_dialect.AtenAddTensorOp
    | torch_dialect.AtenCatOp
    | torch_dialect.AtenCloneOp
    | torch_dialect.AtenContiguousOp
    | torch_dialect.AtenExpandOp
    | torch_dialect.AtenPermuteOp
    | torch_dialect.AtenReshapeOp
    | torch_dialect.AtenSliceScatterOp
    | torch_dialect.AtenSliceTensorOp
    | torch_dialect.AtenTransposeIntOp
    | torch_dialect.AtenTypeAsOp
    | torch_dialect.AtenUnsqueezeOp
    | torch_dialect.AtenViewOp
    | torch_dialect.Aten_ToCopyOp
    | torch_dialect.Aten_UnsafeViewOp,
) -> None:
    """`x * cos + rotated x * sin` (Su et al., "RoFormer", 2021), with what rearranges it after."""
    if not turns(op.result):
        return
    rows = rotation(op.result)
    if rows is not None and not any(map(rotation, _readers(op.result))):
        replace(op, as_torch(rows, op.result.type))


def _readers(value: Value) -> list[Value]:
    """Return the tensors that are made directly of `value`, or of a list that it is in."""
    found: list[Value] = []
    for use in value.uses:
        reader = use.owner
        assert isinstance(reader, OpView)
        results = list(reader.operation.results)
        is_list = isinstance(reader, torch_dialect.PrimListConstructOp)
        found += _readers(results[0]) if is_list else results
    return found
