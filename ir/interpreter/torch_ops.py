"""Operations of the torch dialect, run by the torch operator of the same name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ingot.errors import UnsupportedError
from ingot.ir.mlir import OpView, python_value

from .attention import Scoring, Sight, ragged_attention
from .experts import ExpertUnit, traced_experts
from .pooling import pooled
from .torch_states import STATE_OPERATORS
from .values import Batch

# The numbers that torch gives its element types in graphs (c10::ScalarType).
_FLOAT32, _FLOAT64 = 6, 7


@dataclass(frozen=True)
class TorchState:
    """What an operation of the torch dialect may need besides its operands."""

    batch: Batch
    dtype: torch.dtype


def run_torch_op(op: OpView, inputs: Sequence[Any], state: TorchState) -> list[Any]:
    """Return the results of one operation: tensors, numbers or lists.

    Raises UnsupportedError for an operation that torch does not know.
    """
    name = _name_of(op)
    if name in _SPECIAL:
        return _SPECIAL[name](op, inputs, state)
    if name in STATE_OPERATORS:
        return [STATE_OPERATORS[name](inputs, state.batch).unsqueeze(0)]
    result = _call(_operator(name), inputs, state)
    return list(result) if isinstance(result, tuple) else [result]


_COPYING = {"aten.view": "aten.reshape", "aten._unsafe_view": "aten.reshape"}
"""Views need strides that a graph without copies may not give; reshapes copy where they must."""


def _name_of(op: OpView) -> str:
    name = str(op.operation.name)
    if name == "torch.operator":
        name = str(op.attributes["name"].value)
    return name.removeprefix("torch.")


def _operator(name: str) -> Any:
    """Return the operator for `aten.mul.Tensor` and the like."""
    namespace, packet, *overload = _COPYING.get(name, name).split(".")
    try:
        found = getattr(getattr(torch.ops, namespace), packet)
        return getattr(found, overload[0] if overload else "default")
    except AttributeError:
        raise UnsupportedError(
            f"torch has no operator {name}",
            hint="The interpreter runs torch's own operators and ingot.attention.",
        ) from None


def _call(operator: Any, inputs: Sequence[Any], state: TorchState) -> Any:
    """Call `operator` with operands in the order of its schema."""
    positional, named = [], {}
    for argument, value in zip(operator._schema.arguments, inputs, strict=False):
        kind = str(argument.real_type)
        if "ScalarType" in kind and value == _FLOAT32 and state.dtype == torch.float64:
            value = _FLOAT64
        if argument.kwarg_only:
            named[argument.name] = value
        else:
            positional.append(value)
    return operator(*positional, **named)


def _attention(op: OpView, inputs: Sequence[Any], state: TorchState) -> list[Any]:
    """`ingot.attention`: q, k, v `[1, heads, T, dim]` to `[1, T, heads, dim]`."""
    q, k, v, sinks, slopes, layer, scale, causal, window, chunk, softcap = inputs
    q, k, v = (tensor.squeeze(0).transpose(0, 1) for tensor in (q, k, v))
    scoring = Scoring(scale, softcap, sinks, slopes)
    sight = Sight(causal, window, chunk)
    result = ragged_attention(q, k, v, state.batch, layer=layer, scoring=scoring, sight=sight)
    return [result.unsqueeze(0)]


def _experts(op: OpView, inputs: Sequence[Any], state: TorchState) -> list[Any]:
    """`ingot.experts`: a layer of experts on hidden `[T, H]`."""
    hidden, indices, routing, up, down, *rest = inputs
    biases, layout, unit = (rest[0], rest[1]), (rest[2], rest[3], rest[4]), ExpertUnit(*rest[5:])
    return [traced_experts(hidden, (indices, routing), (up, down), biases, layout, unit)]


def _pool(op: OpView, inputs: Sequence[Any], state: TorchState) -> list[Any]:
    """`ingot.pool`: `[1, T, features]` to `[1, S, features]`."""
    hidden, kind = inputs
    return [pooled(hidden.squeeze(0), state.batch.starts, kind).unsqueeze(0)]


def _constant(op: OpView, inputs: Sequence[Any], state: TorchState) -> list[Any]:
    return [python_value(op.attributes["value"])]


def _literal(op: OpView, inputs: Sequence[Any], state: TorchState) -> list[Any]:
    tensor = torch.from_numpy(np.array(op.attributes["value"]))
    return [tensor.to(state.dtype) if tensor.dtype == torch.float32 else tensor]


def _detach(op: OpView, inputs: Sequence[Any], state: TorchState) -> list[Any]:
    tensor: Tensor = inputs[0]
    return [tensor]


_Special = Callable[[OpView, Sequence[Any], TorchState], list[Any]]

_SPECIAL: Mapping[str, _Special] = {
    # Whether a tensor is contiguous differs between the traced device and this one.
    "aten.view": lambda op, inputs, state: [inputs[0].reshape(inputs[1])],
    "ingot.attention": _attention,
    "ingot.pool": _pool,
    "ingot.experts": _experts,
    "constant.int": _constant,
    "constant.float": _constant,
    "constant.bool": _constant,
    "constant.str": _constant,
    "constant.none": lambda op, inputs, state: [None],
    # Graphs are traced on the meta device; the interpreter runs on the CPU.
    "constant.device": lambda op, inputs, state: [torch.device("cpu")],
    "vtensor.literal": _literal,
    "prim.ListConstruct": lambda op, inputs, state: [list(inputs)],
    "prim.TupleConstruct": lambda op, inputs, state: [tuple(inputs)],
    "prim.ListUnpack": lambda op, inputs, state: list(inputs[0]),
    "prim.TupleUnpack": lambda op, inputs, state: list(inputs[0]),
    "aten._assert_tensor_metadata": lambda op, inputs, state: [],
    "aten.alias": _detach,
    "aten.detach": _detach,
}
