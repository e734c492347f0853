"""Reads the header of a safetensors file and maps its tensors one at a time.

The format: eight bytes with the header's length, the header as JSON (name → dtype, shape, offsets),
then the data (https://github.com/huggingface/safetensors#format).
"""

import json
from math import prod
from pathlib import Path
from typing import Any

import torch

from ingot.errors import CheckpointError
from ingot.models.weights import StoredWeight, WeightInfo, map_tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
LONGEST_HEADER = 100 << 20


def read_safetensors(path: Path) -> dict[str, StoredWeight]:
    """Return the tensors of a file, unread, by name; raises CheckpointError if it is damaged."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST_HEADER):
            raise _damaged(path, f"{size} bytes are too few for its header")
        text = file.read(length)
    try:
        header = json.loads(text)
    except ValueError as error:
        raise _damaged(path, f"its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no JSON object")
    header.pop("__metadata__", None)
    return {name: _entry(path, name, row, 8 + length, size) for name, row in header.items()}


def _entry(path: Path, name: str, row: Any, start: int, size: int) -> StoredWeight:
    try:
        dtype_name = row["dtype"]
        shape = tuple(int(extent) for extent in row["shape"])
        begin, end = (int(offset) for offset in row["data_offsets"])
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(path, f"the entry of {name!r} is malformed") from error
    dtype = DTYPES.get(dtype_name)
    if dtype is None:
        raise CheckpointError(
            f"tensor {name!r} has the data type {dtype_name!r}, which is not known here",
            where=str(path),
            hint="Save the model as float32, bfloat16 or float16.",
        )
    if min(shape, default=0) < 0 or not 0 <= begin <= end:
        raise _damaged(path, f"the entry of {name!r} is malformed")
    if end - begin != prod(shape) * dtype.itemsize:
        raise _damaged(path, f"{name!r} has {end - begin} bytes, not those of {dtype_name}{shape}")
    if start + end > size:
        raise _damaged(path, f"{name!r} ends at byte {start + end} but the file has {size}")
    return StoredWeight(
        WeightInfo(shape, dtype), lambda: map_tensor(path, start + begin, dtype, shape)
    )


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"the safetensors file is truncated or damaged: {what}",
        where=str(path),
        hint="Download or copy the file again.",
    )
