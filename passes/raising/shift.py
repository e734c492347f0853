"""Raises the shift of positions, by which some tables of positions keep their first rows free."""

from ingot.ir import Shift, index_type, torch_dialect
from ingot.passes.bridging import as_torch, indices, is_number, number
from ingot.passes.core import pattern, replace


@pattern
def shift(op: torch_dialect.AtenAddScalarOp) -> None:
    """`aten.add.Scalar(positions, offset)`."""
    rows, offset = indices(op.operands[0]), number(op.operands[1])
    if rows is None or rows.type != index_type(rows.context) or not is_number(op.operands[2], 1):
        return
    if isinstance(offset, int):
        replace(op, as_torch(Shift(rows, offset=offset).out, op.result.type))
