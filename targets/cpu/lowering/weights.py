"""Weights as arguments of kernels: which packing, how many bytes, under which name."""

from math import prod

import torch

from ingot.ir import BF16Type, F16Type, F32Type, Value, encoding_of, logical_type, shape_of
from ingot.targets.base import PackedWeight
from ingot.targets.cpu.packing import Packing, packing_for
from ingot.targets.expressions import expression_key, expression_name

from .arguments import Argument, weight
from .context import Context, padded

VECTOR = "vector"
"""Not a packing of matrices: float32 numbers one after the other, padded to 16."""

PLAIN = "plain"
"""Row-major in the type of the expression, as the kernels of remainders read weights."""

COLUMNS = "columns"
"""Float32 column after column, each padded to 16: lanes are the rows of a narrow matrix."""

_DTYPES = {F32Type: torch.float32, BF16Type: torch.bfloat16, F16Type: torch.float16}


def add_vector(context: Context, value: Value) -> Argument:
    """Pass a bias, norm weight or table of frequencies as plain float32."""
    (size,) = shape_of(value)
    num_bytes = 4 * padded(size, 16)
    return weight(_add(context, value, VECTOR, num_bytes, num_bytes))


def add_plain(context: Context, value: Value) -> Argument:
    """Pass a weight as it is: row-major, in its own element type."""
    element = logical_type(value).element_type
    num_bytes = prod(shape_of(value)) * (int(str(element).lstrip("bfi")) // 8)
    return weight(_add(context, value, PLAIN, num_bytes, num_bytes))


def add_columns(context: Context, value: Value) -> Argument:
    """Pass a narrow matrix `[N, K]`, or `[N, 1, K]`, column after column."""
    sizes = shape_of(value)
    num_bytes = 4 * padded(sizes[0], 16) * sizes[-1]
    return weight(_add(context, value, COLUMNS, num_bytes, num_bytes))


def add_matrix(context: Context, value: Value, *, gathered: bool = False) -> Argument:
    """Pass a packed matrix `[N, K]`; a `gathered` one is a table of which a token reads one row."""
    outputs, columns = shape_of(value)
    packing = packing_of(value)
    num_bytes = packing.packed_bytes(outputs, columns)
    step_bytes = num_bytes // outputs if gathered else num_bytes
    return weight(_add(context, value, packing.name, num_bytes, step_bytes))


def add_experts(context: Context, value: Value, experts: int, choices: int) -> Argument:
    """Pass the packed matrices of `experts`, of which a token reads `choices`."""
    outputs, columns = shape_of(value)
    packing = packing_of(value)
    num_bytes = packing.packed_bytes(outputs, columns)
    step_bytes = num_bytes // experts * min(choices, experts)
    return weight(_add(context, value, packing.name, num_bytes, step_bytes))


def packing_of(value: Value) -> Packing:
    """Return the packing that the kernels read for a weight's encoding or float type."""
    encoding = encoding_of(value)
    if encoding is not None:
        return packing_for(encoding)
    return packing_for(_DTYPES[type(logical_type(value).element_type)])


def _add(context: Context, value: Value, packing: str, num_bytes: int, step_bytes: int) -> str:
    key = (expression_key(value), packing)
    name = context.weight_names.get(key) or _free_name(context, value, packing)
    context.weight_names[key] = name
    return context.add_weight(PackedWeight(name, value, packing, num_bytes, step_bytes))


def _free_name(context: Context, value: Value, packing: str) -> str:
    """Return the expression's name, with the packing where another expression took it."""
    name = expression_name(value)
    candidates = (name, f"{name}:{packing}", *(f"{name}:{packing}:{n}" for n in range(2, 99)))
    return next(candidate for candidate in candidates if candidate not in context.weights)
