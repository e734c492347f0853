"""Makes torch ops of the reference of an operation, for targets that know nothing better of it.

The reference is Python on torch tensors.  torch.export traces it once for the types at hand, for
any number of tokens, and the graph is put in the operation's place between bridges.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from ingot.errors import UnsupportedError
from ingot.ir import (
    DYNAMIC,
    Batch,
    BatchType,
    Convert,
    FromTorch,
    Module,
    Op,
    QuantTensor,
    RankedTensorType,
    ToTorch,
    Value,
    float_tensor,
    func,
    is_per_token,
    is_rounded,
    mlir,
    place_of,
    shape_of,
)

_EXAMPLE_TOKENS = 5
_MOST_TOKENS = 1 << 20


class _Reference(nn.Module):
    """An operation's reference as a function of torch tensors, which have a leading 1."""

    def __init__(self, op: Op) -> None:
        super().__init__()
        self._op = op
        self._leading = [is_per_token(operand) for operand in op.operands]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        inputs = (
            tensor.squeeze(0) if leading else tensor
            for tensor, leading in zip(tensors, self._leading, strict=True)
        )
        result = self._op.reference(*inputs)
        results = result if isinstance(result, tuple) else (result,)
        found = []
        for value in results:
            assert not isinstance(value, Batch | QuantTensor)
            found.append(value.unsqueeze(0))
        return tuple(found)


def as_torch_ops(op: Op) -> tuple[Value, ...]:
    """Build the torch ops that compute the results of `op`, and return those outside torch.

    Raises UnsupportedError for operations that need the batch or more than plain tensors.
    """
    _check(op)
    inputs = [_input(operand) for operand in op.operands]
    # The module owns the operations that are copied out of it.
    traced = _import(op, inputs)
    results = _copy(traced.functions[0], [ToTorch(value).out for value in inputs], op)
    return tuple(FromTorch(value).out for value in results)


def _check(op: Op) -> None:
    values = [*op.operands, *op.results]
    if any(isinstance(value.type, BatchType) or is_rounded(value) for value in values):
        raise UnsupportedError(
            f"{op.OPERATION_NAME} cannot be compiled by its reference alone: that needs more than "
            "the rows of its operands",
            where=place_of(op.location) or "step",
            hint="Give the target a lowering for it, or the operation a decomposition.",
        )


def _input(operand: Value) -> Value:
    """Return an operand as torch reads it: weights as float32."""
    plain = isinstance(operand.type, RankedTensorType)
    if is_per_token(operand) or (plain and str(operand.type.element_type) == "f32"):
        return operand
    return Convert(operand).out


def _import(op: Op, inputs: list[Value]) -> Module:
    graph = _export(op, [_example(value) for value in inputs]).graph
    importer = mlir.FxImporter(context=op.context)
    importer.import_stateless_graph(graph, func_name="reference")
    return Module(importer.module)


def _example(value: Value) -> Tensor:
    sizes = [_EXAMPLE_TOKENS if size == DYNAMIC else size for size in shape_of(value)]
    is_float = value.type == float_tensor(shape_of(value), value.context)
    dtype = torch.float32 if is_float else torch.int64
    example = torch.zeros(sizes, dtype=dtype, device="meta")
    return example.unsqueeze(0) if is_per_token(value) else example


def _export(op: Op, examples: list[Tensor]) -> torch.export.ExportedProgram:
    tokens = torch.export.Dim("T", min=2, max=_MOST_TOKENS)
    shapes: list[Any] = [{1: tokens} if is_per_token(x) else None for x in op.operands]
    with warnings.catch_warnings():
        # torch.export copies its own tree specifications, which warn of themselves.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        program = torch.export.export(
            _Reference(op), tuple(examples), dynamic_shapes={"tensors": tuple(shapes)}, strict=False
        )
        simplified = program.run_decompositions({})
    assert isinstance(simplified, torch.export.ExportedProgram)
    return simplified


def _copy(function: func.FuncOp, arguments: list[Value], op: Op) -> list[Value]:
    """Copy the body of `function` to the insertion point and return what it returns."""
    *body, end = function.entry_block.operations
    values = dict(zip(function.entry_block.arguments, arguments, strict=True))
    for one in body:
        copy = one.operation.clone()
        copy.location = op.location
        for index, operand in enumerate(one.operation.operands):
            copy.operands[index] = values[operand]
        values.update(zip(one.operation.results, copy.results, strict=True))
    return [values[operand] for operand in end.operands]
