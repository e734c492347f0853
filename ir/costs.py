"""How many bytes the values of a step take."""

from math import prod

from .mlir import DYNAMIC, Value
from .operation import Op
from .types import encoding_of, logical_type, shape_of


def bits_of(value: Value) -> float:
    """Return the bits that an element of a plain or encoded tensor takes."""
    encoding = encoding_of(value)
    return encoding.bits_per_weight if encoding else float(logical_type(value).element_type.width)


def elements_of(value: Value, tokens: int) -> int:
    """Return the number of elements of a value in a step of `tokens` tokens."""
    return prod(tokens if size == DYNAMIC else size for size in shape_of(value))


def bytes_of(value: Value, tokens: int) -> float:
    """Return the bytes of a value in a step of `tokens` tokens."""
    return elements_of(value, tokens) * bits_of(value) / 8


def traffic(op: Op, tokens: int) -> float:
    """Return the bytes of all tensor operands and results, each read or written once."""
    values = [v for v in (*op.operands, *op.results) if not str(v.type).startswith("!lm.batch")]
    return sum(bytes_of(value, tokens) for value in values)
