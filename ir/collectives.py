"""What the operations that depend on the devices of a mesh have in common.

Sizes of rows may differ between devices: rows that do not divide evenly are cut so that the first
parts have one more.
"""

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from ingot.ir.interpreter.values import Batch, Datum

from .checks import require, require_activation, require_positive
from .costs import bytes_of
from .mesh import AXES
from .mlir import DYNAMIC, Value
from .operation import Op
from .quant_tensor import QuantTensor, concatenate
from .references import tensor_of
from .types import columns_of, encoding_of, is_choice, shape_of

FLOAT32 = "float32"
EXCHANGED = {FLOAT32: torch.float32, "bfloat16": torch.bfloat16}
"""The types in which devices may send each other floats."""


def axis_of(op: Op) -> str:
    """Return the axis along which a collective operation's devices lie."""
    assert op.collective, f"{op.OPERATION_NAME} is not collective"
    return str(op.attributes["axis"].value)


def require_devices(axis: str, size: int) -> None:
    """Require a known axis, and a number of devices along it."""
    require(axis in AXES, f"needs axis to be one of {', '.join(AXES)}, found {axis!r}")
    require_positive("size", size)


def require_dim(dim: int) -> None:
    """Require a dimension of an activation: 0, its rows, or 1, its columns."""
    require(dim in (0, 1), f"needs dim of 0 (rows) or 1 (columns), found {dim}")


def require_per_token(name: str, value: Value) -> None:
    """Require activations, which may be rounded, or the choices of a router."""
    if not is_choice(value):
        require_activation(name, value, may_be_rounded=True)


def require_whole_groups(name: str, value: Value, dim: int, size: int) -> None:
    """Require parts of `size` of dimension `dim` to hold whole groups of an encoding."""
    encoding = encoding_of(value)
    if encoding is None or not encoding.group or dim != len(shape_of(value)) - 1:
        return
    fits = size % encoding.group == 0
    require(
        fits,
        f"cannot cut {name} into parts of {size} columns: {encoding} keeps {encoding.group} "
        f"together",
    )


def columns_divided(value: Value, size: int) -> int:
    """Return the columns of one of `size` parts, which must be equal."""
    columns = columns_of(value)
    require(columns % size == 0, f"cannot part {columns} columns among {size} devices")
    return columns // size


def rows_of(datum: Datum) -> int:
    """Return the number of rows of a per-token value."""
    assert not isinstance(datum, Batch)
    return int(datum.shape[0])


def cut(datum: Datum, dim: int, parts: int, index: int, blocks: int = 1) -> Tensor | QuantTensor:
    """Return part `index` of dimension `dim`, a view where that is possible.

    The dimension is `blocks` equal blocks, of which each is cut in `parts`.
    """
    assert not isinstance(datum, Batch)
    if not isinstance(datum, QuantTensor):
        return _cut(datum, dim, parts, index, blocks)
    encoding = datum.encoding
    # A scale for a whole row is that of every part of the row.
    kept = dim == datum.values.dim() - 1 and not encoding.group
    beside = [
        one if one is None or kept else _cut(one, dim, parts, index, blocks)
        for one in (datum.scales, datum.offsets)
    ]
    assert beside[0] is not None
    values = _cut(datum.values, dim, parts, index, blocks)
    return QuantTensor(encoding, values, beside[0], beside[1])


def _cut(x: Tensor, dim: int, parts: int, index: int, blocks: int) -> Tensor:
    if blocks == 1:
        return x.tensor_split(parts, dim)[index]
    assert x.shape[dim] % (blocks * parts) == 0, f"{list(x.shape)} in {blocks} x {parts}"
    pieces = x.reshape(*x.shape[:dim], blocks, parts, -1, *x.shape[dim + 1 :])
    return pieces.select(dim + 1, index).flatten(dim, dim + 1)


def joined(data: Sequence[Datum], dim: int) -> Tensor | QuantTensor:
    """Return the parts one after the other along `dim` (0 or 1)."""
    encoded = [one for one in data if isinstance(one, QuantTensor)]
    if not encoded:
        return torch.cat([tensor_of(one) for one in data], dim)
    assert len(encoded) == len(data), "parts of different kinds"
    if dim == 0:
        return concatenate(encoded)
    assert all(one.offsets is None for one in encoded), "only activations are joined by columns"
    values = torch.cat([one.values for one in encoded], dim)
    return QuantTensor(encoded[0].encoding, values, torch.cat([o.scales for o in encoded], dim))


def sent_as(data: Sequence[Datum], dtype: str) -> list[Datum]:
    """Return the values that devices send each other as numbers of type `dtype`, rounded to it."""
    if dtype == FLOAT32:
        return list(data)
    tensors = [tensor_of(one) for one in data]
    return [one.to(EXCHANGED[dtype]).to(one.dtype) for one in tensors]


def require_exchanged(dtype: str, x: Value) -> None:
    """Require a type that numbers can be sent in; only plain floats can be rounded to one."""
    require(dtype in EXCHANGED, f"needs a dtype of {', '.join(EXCHANGED)}, found {dtype}")
    if dtype != FLOAT32:
        require_activation("x", x)


def exchanged_bytes(value: Value, rows: int, dtype: str) -> float:
    """Return the bytes of `rows` rows of a value as it is sent."""
    return bytes_of(value, rows) * EXCHANGED[dtype].itemsize / EXCHANGED[FLOAT32].itemsize


def summed(data: Sequence[Datum]) -> Tensor:
    """Return the sum, added in the order of the devices."""
    return reduce(torch.add, [tensor_of(one) for one in data])


def place_along(axis: str, size: int, coordinates: Mapping[str, int]) -> int:
    """Return a device's place along `axis`; 0 where a mesh of one device along it lacks it."""
    assert axis in coordinates or size == 1, f"the device's place along {axis} is not given"
    place = coordinates.get(axis, 0)
    assert 0 <= place < size, f"place {place} along {axis} of {size}"
    return place


def ring_share(size: int) -> float:
    """Return the share of a whole value that a ring of `size` devices sends over each link."""
    return (size - 1) / size


def is_dynamic(value: Value, dim: int) -> bool:
    """Return whether dimension `dim` is one of tokens."""
    return shape_of(value)[dim] == DYNAMIC
