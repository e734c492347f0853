"""Turns the block types of GGUF into tensors: without loss where an encoding has the same values.

The layouts of blocks are those of ggml (`ggml-common.h`): Q4_0 `{f16 d, u8 q[16]}`, Q4_1
`{f16 d, f16 m, u8 q[16]}`, Q8_0 `{f16 d, i8 q[32]}`, each for 32 consecutive elements of a row; the
low nibbles are the first half.
"""

from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.constants import GGMLQuantizationType as Kind

from ingot.errors import UnsupportedError
from ingot.ir import Encoding, QuantTensor
from ingot.models.weights import StoredWeight, Value, WeightInfo, map_bytes, map_tensor

from .header import Tensor

FLOATS = {Kind.F32: torch.float32, Kind.F16: torch.float16, Kind.BF16: torch.bfloat16}
ENCODINGS = {
    Kind.Q4_0: Encoding.parse("int4-g32-sym"),
    Kind.Q4_1: Encoding.parse("int4-g32-min"),
    Kind.Q8_0: Encoding.parse("int8-g32"),
}
BLOCK = 32


def stored_weight(path: Path, tensor: Tensor) -> StoredWeight:
    """Return the tensor unread: as it is if float, encoded if an encoding fits, else as float32."""
    if tensor.kind in FLOATS:
        dtype = FLOATS[tensor.kind]
        return StoredWeight(
            WeightInfo(tensor.shape, dtype),
            lambda: map_tensor(path, tensor.offset, dtype, tensor.shape),
        )
    if tensor.kind in ENCODINGS and len(tensor.shape) == 2:
        info = WeightInfo(tensor.shape, ENCODINGS[tensor.kind])
        return StoredWeight(info, lambda: _encoded(path, tensor))
    return StoredWeight(WeightInfo(tensor.shape, torch.float32), lambda: _dequantized(path, tensor))


def permute_rows(value: Value, order: torch.Tensor) -> Value:
    """Return the rows of a tensor in another order; blocks lie inside rows and stay whole."""
    return value.rows(order) if isinstance(value, QuantTensor) else value[order]


def _encoded(path: Path, tensor: Tensor) -> QuantTensor:
    rows, columns = tensor.shape
    groups = columns // BLOCK
    data = map_bytes(path, tensor.offset, tensor.size).reshape(rows, groups, -1)
    heads = 2 if tensor.kind == Kind.Q4_1 else 1
    halves = _copy(data[..., : 2 * heads]).view(torch.float16)
    codes = _copy(data[..., 2 * heads :])
    if tensor.kind == Kind.Q8_0:
        values = codes.view(torch.int8)
    else:
        values = torch.cat([codes & 0x0F, codes >> 4], dim=-1)
    return QuantTensor(
        ENCODINGS[tensor.kind],
        values.view(rows, columns),
        halves[..., 0].contiguous(),
        halves[..., 1].contiguous() if heads == 2 else None,
    )


def _copy(data: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> torch.Tensor:
    return torch.from_numpy(np.array(data, order="C"))


def _dequantized(path: Path, tensor: Tensor) -> torch.Tensor:
    data = map_bytes(path, tensor.offset, tensor.size)
    block, block_bytes = gguf.GGML_QUANT_SIZES[tensor.kind]
    row_bytes = tensor.shape[-1] // block * block_bytes
    try:
        values = gguf.dequantize(data.reshape(*tensor.shape[:-1], row_bytes), tensor.kind)
    except NotImplementedError as error:
        raise UnsupportedError(
            f"tensor {tensor.name!r} has the type {tensor.kind.name}, which cannot be dequantised",
            where=str(path),
            hint="Convert the model to a common type, such as Q4_1, Q8_0 or F16.",
        ) from error
    return torch.from_numpy(np.array(values, dtype=np.float32)).view(tensor.shape)
