"""Raises rotary positions, by whichever torch ops a model turns the features of its heads."""

from ingot.ir import torch_dialect
from ingot.passes.bridging import as_torch
from ingot.passes.core import pattern, replace
from ingot.passes.reading import readers, rotation, turns


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
    if rows is not None and not any(map(rotation, readers(op.result))):
        replace(op, as_torch(rows, op.result.type))
