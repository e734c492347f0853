"""The declared fields of an operation, and the check that a parsed one has them all.

MLIR checks this too, but only after the verifiers, which read the fields.
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from .dialect import Quant
from .mlir import (
    FloatAttr,
    IntegerAttr,
    OpResult,
    OpView,
    RankedTensorType,
    StringAttr,
    Type,
    TypeAttr,
    Value,
)

ATTRIBUTES: Mapping[Any, Any] = {
    bool: IntegerAttr,
    int: IntegerAttr,
    float: FloatAttr,
    str: StringAttr,
}


class InvalidOp(Exception):
    """What is wrong with one operation: what was expected, what was found."""


def check_fields(op: OpView, fields: Mapping[str, Any]) -> None:
    """Check that a parsed operation has what its class declares; MLIR checks this only later."""
    operands = [name for name, kind in fields.items() if kind is Value]
    optional = [name for name, kind in fields.items() if Value in get_args(kind)]
    expected = len(operands), len(operands) + len(optional)
    if not expected[0] <= len(op.operands) <= expected[1]:
        names = ", ".join(operands + [f"{name}?" for name in optional])
        raise InvalidOp(f"needs the operands {names}, found {len(op.operands)}")
    results = [name for name, kind in fields.items() if kind is OpResult]
    if len(op.results) != len(results):
        raise InvalidOp(f"makes {', '.join(results)}, found {len(op.results)} results")
    if optional:
        _check_segments(op, operands, optional)
    for name, kind in fields.items():
        if kind in ATTRIBUTES:
            _check_attribute(op, name, kind)


def _check_segments(op: OpView, operands: Sequence[str], optional: Sequence[str]) -> None:
    sizes = "operandSegmentSizes"
    if sizes not in op.attributes:
        raise InvalidOp(
            f"needs {sizes}, one number for each of {', '.join((*operands, *optional))}"
        )
    found = list(op.attributes[sizes])
    required, rest = found[: len(operands)], found[len(operands) :]
    fits = (
        all(size == 1 for size in required)
        and all(size in (0, 1) for size in rest)
        and len(rest) == len(optional)
        and sum(found) == len(op.operands)
    )
    if not fits:
        raise InvalidOp(f"has {len(op.operands)} operands, but {sizes} is {found}")


def _check_attribute(op: OpView, name: str, kind: type) -> None:
    if name not in op.attributes:
        raise InvalidOp(f"needs the attribute {name}")
    attribute = op.attributes[name]
    value = getattr(attribute, "value", None)
    if type(value) is not kind:
        raise InvalidOp(f"needs {name} to be {_KINDS[kind]}, found {attribute}")


_KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "an integer (i64)",
    float: "a number (f64)",
    str: "a string",
}


def check_encoding(kind: Type) -> None:
    if not isinstance(kind, Quant):
        return
    try:
        encoding = kind.encoding
    except ValueError as error:
        raise InvalidOp(str(error)) from None
    stored = TypeAttr(kind.tensor_attribute).value
    if not isinstance(stored, RankedTensorType) or stored.rank == 0:
        raise InvalidOp(f"needs a ranked tensor in !lm.quant, found {stored}")
    if kind.logical.rank != 2 and encoding.activation:
        raise InvalidOp(f"rounded activations have 2 dimensions, found {kind}")
