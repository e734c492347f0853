"""The types of values in a step: making them, and reading them apart."""

from collections.abc import Sequence

import torch

from .dialect import BatchType, Quant
from .encoding import ACTIVATION, Encoding
from .mlir import (
    DYNAMIC,
    BF16Type,
    Context,
    F16Type,
    F32Type,
    IntegerType,
    Location,
    RankedTensorType,
    Type,
    Value,
)

FLOAT_TYPES = (F32Type, BF16Type, F16Type)
_TORCH_TYPES = {
    "f32": torch.float32,
    "bf16": torch.bfloat16,
    "f16": torch.float16,
    "f64": torch.float64,
    "i32": torch.int32,
    "i64": torch.int64,
}


def tensor_type(shape: Sequence[int], element: Type) -> RankedTensorType:
    """Return `tensor<shape x element>`; `DYNAMIC` stands for `?`."""
    return RankedTensorType.get(list(shape), element, loc=Location.unknown(element.context))


def float_tensor(shape: Sequence[int], context: Context) -> RankedTensorType:
    """Return `tensor<shape x f32>`."""
    return tensor_type(shape, F32Type.get(context))


def activation_type(columns: int, context: Context, *, rounded: bool = False) -> Type:
    """Return `tensor<?xCxf32>`, or that in the encoding of rounded activations."""
    plain = float_tensor([DYNAMIC, columns], context)
    return Quant.of(plain, ACTIVATION) if rounded else plain


def index_type(context: Context) -> RankedTensorType:
    """Return `tensor<?xi32>`: token ids and positions."""
    return tensor_type([DYNAMIC], IntegerType.get_signless(32, context))


def step_inputs(context: Context) -> list[Type]:
    """Return the parameter types of every step: tokens, positions, batch."""
    return [index_type(context), index_type(context), BatchType.of(context)]


def type_of(value: Value | Type) -> Type:
    """Return the type of a value, or the type itself."""
    return value if isinstance(value, Type) else value.type


def logical_type(value: Value | Type) -> RankedTensorType:
    """Return the tensor type that a plain or encoded tensor stands for."""
    kind = type_of(value)
    return kind.logical if isinstance(kind, Quant) else RankedTensorType(kind)


def shape_of(value: Value | Type) -> list[int]:
    """Return the sizes of a plain or encoded tensor, `DYNAMIC` for `?`."""
    return list(logical_type(value).shape)


def resized_type(value: Value | Type, dim: int, size: int) -> Type:
    """Return the type of a plain or encoded tensor with another size in one dimension."""
    shape = shape_of(value)
    shape[dim] = size
    resized = tensor_type(shape, logical_type(value).element_type)
    encoding = encoding_of(value)
    return resized if encoding is None else Quant.of(resized, encoding)


def columns_of(value: Value | Type) -> int:
    """Return the size of the last dimension: the features of an activation, K of a weight."""
    return shape_of(value)[-1]


def encoding_of(value: Value | Type) -> Encoding | None:
    """Return the encoding of a quantised tensor, None for a plain one."""
    kind = type_of(value)
    return kind.encoding if isinstance(kind, Quant) else None


def is_rounded(value: Value | Type) -> bool:
    """Return whether the value is an activation in an encoding: rounded for the kernels."""
    encoding = encoding_of(value)
    return encoding is not None and encoding.activation


def is_bfloat16(value: Value | Type) -> bool:
    """Return whether the value is a plain tensor of bfloat16."""
    kind = type_of(value)
    return isinstance(kind, RankedTensorType) and isinstance(kind.element_type, BF16Type)


def is_tensor(value: Value | Type) -> bool:
    """Return whether the value is a plain or encoded tensor."""
    return isinstance(type_of(value), Quant | RankedTensorType)


def is_per_token(value: Value | Type) -> bool:
    """Return whether the value has a row for every token of the step."""
    kind = type_of(value)
    if not isinstance(kind, Quant | RankedTensorType):
        return False
    shape = shape_of(kind)
    return bool(shape) and shape[0] == DYNAMIC


def is_choice(value: Value | Type) -> bool:
    """Return whether the value is `tensor<?xkxi32>`: k choices for every token."""
    kind = type_of(value)
    if not isinstance(kind, RankedTensorType) or kind.rank != 2:
        return False
    return kind.shape[0] == DYNAMIC and str(kind.element_type) == "i32"


def torch_dtype(value: Value | Type) -> torch.dtype:
    """Return the torch type of the elements of a plain tensor."""
    return _TORCH_TYPES[str(type_of(value).element_type)]
