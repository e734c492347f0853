"""Raises activation functions that torch has one op for."""

from ingot.ir import Activation, torch_dialect
from ingot.passes.bridging import as_torch, is_number, same, text
from ingot.passes.core import pattern, producer, replace
from ingot.passes.reading import features

_KINDS = {
    "torch.aten.silu": "silu",
    "torch.aten.relu": "relu",
    "torch.aten.sigmoid": "sigmoid",
    "torch.aten.tanh": "tanh",
}


@pattern
def activation(
    op: torch_dialect.AtenSiluOp
    | torch_dialect.AtenReluOp
    | torch_dialect.AtenSigmoidOp
    | torch_dialect.AtenTanhOp,
) -> None:
    """`aten.silu`, `aten.relu`, `aten.sigmoid`, `aten.tanh`."""
    rows = features(op.operands[0])
    if rows is not None:
        kind = _KINDS[op.operation.name]
        replace(op, as_torch(Activation(rows, kind=kind).out, op.result.type))


@pattern
def gelu(op: torch_dialect.AtenGeluOp) -> None:
    """`aten.gelu`, exact or by tanh."""
    kind = {"none": "gelu", "tanh": "gelu_tanh"}.get(text(op.operands[1]) or "")
    rows = features(op.operands[0])
    if rows is not None and kind is not None:
        replace(op, as_torch(Activation(rows, kind=kind).out, op.result.type))


@pattern(benefit=2)
def squared_relu(op: torch_dialect.AtenSquareOp | torch_dialect.AtenPowTensorScalarOp) -> None:
    """`relu(x)^2` (So et al., "Primer", 2021)."""
    relu = producer(same(op.operands[0]), torch_dialect.AtenReluOp)
    is_square = isinstance(op, torch_dialect.AtenSquareOp) or is_number(op.operands[1], 2)
    rows = features(relu.operands[0]) if relu is not None and is_square else None
    if rows is not None:
        replace(op, as_torch(Activation(rows, kind="relu2").out, op.result.type))
