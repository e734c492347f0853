"""Weight expressions: values that depend on nothing but weights, and what they evaluate to."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from ingot.errors import CheckpointError
from ingot.ir.dialect import Quant
from ingot.ir.mlir import Value
from ingot.ir.operation import Op
from ingot.ir.ops.shard import Shard
from ingot.ir.ops.weight import Weight
from ingot.ir.placement import is_weight_expression
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.types import shape_of, torch_dtype

from .values import Batch

Weights = Mapping[str, Tensor | QuantTensor]


def weight_symbols(value: Value) -> list[str]:
    """Return the names of the tensors that a weight expression reads, in order."""
    owner = value.owner
    if isinstance(owner, Weight):
        return [owner.symbol]
    return [symbol for operand in owner.operands for symbol in weight_symbols(operand)]


def evaluate_weight(
    value: Value,
    weights: Weights,
    dtype: torch.dtype = torch.float32,
    coordinates: Mapping[str, int] = MappingProxyType({}),
    *,
    encoded: bool = True,
) -> Tensor | QuantTensor:
    """Evaluate a weight expression; float32 operands are widened to `dtype` before arithmetic.

    So an oracle in float64 adds no rounding of its own; what is encoded is float32 all the same.
    Operands are freed as soon as their reader is done: the most that is held at once is the
    operands of one operation and its result.  `coordinates` are a device's place along the axes of
    a mesh, at least those in `axes_of(value)`; the part of a tensor as stored is a view, of which
    nothing else is read.  Unless `encoded`, operations that encode are left out.

    Raises CheckpointError where `weights` lacks a tensor, or holds one of another type than the IR
    says.
    """
    assert is_weight_expression(value), f"{value} does not depend on weights alone"
    owner: Op = value.owner
    if isinstance(owner, Weight):
        return _load(owner, weights)
    name = str(owner.OPERATION_NAME)
    wanted = None if name in _MOVES else torch.float32 if name == _ENCODES else dtype
    with torch.no_grad():
        operands = (
            evaluate_weight(operand, weights, dtype, coordinates, encoded=encoded)
            for operand in owner.operands
        )
        if name == _ENCODES and not encoded:
            return next(operands)
        typed = [_typed(operand, wanted) for operand in operands]
        if isinstance(owner, Shard):
            return owner.part(typed[0], coordinates)
        result = owner.reference(*typed)
    assert not isinstance(result, Batch | tuple)
    return result


_MOVES = ("lm.concat", "lm.convert", "lm.shard", "lm.transpose")
"""Operations that compute nothing, which are given their operands as they are."""
_ENCODES = "lm.quantize"


def _typed(value: Tensor | QuantTensor, dtype: torch.dtype | None) -> Tensor | QuantTensor:
    if dtype is None or not isinstance(value, Tensor):
        return value
    return value.to(dtype) if value.dtype in (torch.float32, torch.float64) else value


def _load(op: Weight, weights: Weights) -> Tensor | QuantTensor:
    if op.symbol not in weights:
        raise CheckpointError(
            "is not in the checkpoint",
            where=op.symbol,
            hint="Give the checkpoint that the module was imported from.",
        )
    weight = weights[op.symbol]
    if isinstance(weight, QuantTensor):
        found = f"{weight.encoding} {list(weight.shape)}"
        matches = isinstance(op.out.type, Quant) and op.out.type.encoding == weight.encoding
    else:
        found = f"{str(weight.dtype).removeprefix('torch.')} {list(weight.shape)}"
        matches = not isinstance(op.out.type, Quant) and torch_dtype(op.out) == weight.dtype
    if not matches or list(weight.shape) != shape_of(op.out):
        raise CheckpointError(
            f"is {found}, the module expects {op.out.type}",
            where=op.symbol,
            hint="Give the checkpoint that the module was imported from.",
        )
    return weight
