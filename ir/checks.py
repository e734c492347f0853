"""What the verifiers of `lm` operations have in common: requirements that explain themselves."""

from collections.abc import Sequence

from .dialect import BatchType, Quant
from .fields import InvalidOp
from .mlir import DYNAMIC, IntegerType, RankedTensorType, Type, Value
from .types import FLOAT_TYPES, is_rounded, logical_type, shape_of


def require(holds: bool, message: str) -> None:
    """Raise `InvalidOp` with `message` unless `holds`."""
    if not holds:
        raise InvalidOp(message)


def require_tensor(name: str, value: Value) -> RankedTensorType:
    """Return the logical tensor type of `value`, which must be a plain or encoded tensor."""
    kind = value.type
    require(
        isinstance(kind, Quant | RankedTensorType),
        f"needs {name} to be a ranked tensor or !lm.quant, found {kind}",
    )
    return logical_type(kind)


def require_shape(name: str, value: Value, expected: Sequence[int | None]) -> None:
    """Require the sizes of `value`; None matches any size, `DYNAMIC` only `?`."""
    require_tensor(name, value)
    found = shape_of(value)
    fits = len(found) == len(expected) and all(
        want is None or want == have for want, have in zip(expected, found, strict=True)
    )
    pattern = "x".join("_" if n is None else "?" if n == DYNAMIC else str(n) for n in expected)
    require(fits, f"needs {name} of shape <{pattern}>, found {value.type}")


def require_float(name: str, value: Value) -> None:
    """Require a plain tensor of f32, bf16 or f16."""
    require_tensor(name, value)
    plain = isinstance(value.type, RankedTensorType) and isinstance(
        value.type.element_type, FLOAT_TYPES
    )
    require(plain, f"needs {name} to be a tensor of f32, bf16 or f16, found {value.type}")


def require_activation(
    name: str, value: Value, columns: int | None = None, *, may_be_rounded: bool = False
) -> None:
    """Require `tensor<?xCxf32>`, or that rounded where the operation can take or make it."""
    if may_be_rounded and is_rounded(value):
        require_shape(name, value, [DYNAMIC, columns])
        return
    allowed = " or rounded to int8-act" if may_be_rounded else ""
    width = "_" if columns is None else str(columns)
    message = f"needs {name} to be tensor<?x{width}xf32>{allowed}, found {value.type}"
    require(isinstance(value.type, RankedTensorType), message)
    shape = list(value.type.shape)
    fits = len(shape) == 2 and shape[0] == DYNAMIC and columns in (None, shape[1])
    require(fits and str(value.type.element_type) == "f32", message)


def require_vector(name: str, value: Value, size: int) -> None:
    """Require a plain float weight of `size` elements."""
    require_float(name, value)
    require_shape(name, value, [size])


def require_indices(name: str, value: Value) -> None:
    """Require `tensor<?xi32>`: token ids or positions."""
    message = f"needs {name} to be tensor<?xi32>, found {value.type}"
    require(isinstance(value.type, RankedTensorType), message)
    element = value.type.element_type
    is_i32 = isinstance(element, IntegerType) and element.width == 32 and element.is_signless
    require(is_i32 and list(value.type.shape) == [DYNAMIC], message)


def require_batch(name: str, value: Value) -> None:
    """Require `!lm.batch`."""
    require(isinstance(value.type, BatchType), f"needs {name} to be !lm.batch, found {value.type}")


def require_same_type(name: str, value: Value, other_name: str, other: Type) -> None:
    """Require the type of `value` to be that of another operand or result."""
    require(value.type == other, f"needs {name} of {other_name}'s type {other}, found {value.type}")


def require_positive(name: str, value: float) -> None:
    """Require an attribute above zero."""
    require(value > 0, f"needs {name} above 0, found {value:g}")


def require_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Require an attribute to be one of `choices`."""
    require(value in choices, f"needs {name} to be one of {', '.join(choices)}, found {value!r}")


def require_heads(name: str, value: Value, heads: int, head_dim: int) -> None:
    """Require an activation of `heads` contiguous heads of `head_dim` features each."""
    require_activation(name, value)
    columns = shape_of(value)[1]
    require(
        heads * head_dim == columns,
        f"needs {name} of {heads} heads x {head_dim} = {heads * head_dim} features, "
        f"found {columns}",
    )


def require_elementwise(x: Value, y: Value) -> None:
    """Require x and y to be float tensors of one type, or y a `[features]` vector for x's rows."""
    require_float("x", x)
    require_float("y", y)
    fits = y.type == x.type or shape_of(y) == shape_of(x)[-1:]
    require(
        fits,
        f"needs y of x's type {x.type} or a vector of {shape_of(x)[-1]} elements, found {y.type}",
    )
