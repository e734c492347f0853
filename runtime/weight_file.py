"""Read the header of a mapped safetensors file of packed weights (all tensors are flat uint8).

The format: a little-endian u64 with the length of a JSON header, the header, then the data; the
header gives each tensor's dtype, shape and byte range in the data.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingot.errors import ArtifactError

from .artifact_format import FORMAT, WEIGHT_ALIGNMENT


def parse_weights(path: Path, data: memoryview) -> dict[str, NDArray[np.uint8]]:
    """Return each tensor as a flat read-only view of `data`, the content of the file at `path`.

    Raises `ArtifactError` where the header is malformed or a tensor lies outside of the file or off
    the alignment that the kernels' loads need.
    """
    header, start = _read_header(path, data)
    content = np.frombuffer(data, dtype=np.uint8)
    return {
        name: _view(path, name, entry, content, start)
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _read_header(path: Path, data: memoryview) -> tuple[dict[str, object], int]:
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else len(data)
    start = 8 + length
    if start > len(data):
        raise _malformed(path, "the header is cut off")
    try:
        header = json.loads(bytes(data[8:start]))
    except ValueError as error:
        raise _malformed(path, f"the header is not JSON: {error}") from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise _malformed(path, "the header does not say that the weights are packed for Ingot")
    return header, start


def _view(
    path: Path, name: str, entry: object, content: NDArray[np.uint8], start: int
) -> NDArray[np.uint8]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (
        isinstance(entry, dict)
        and entry.get("dtype") == "U8"
        and isinstance(offsets, list)
        and [type(offset) for offset in offsets] == [int, int]
        and 0 <= offsets[0] <= offsets[1] <= len(content) - start
    ):
        raise _malformed(path, f"the entry of {name} is malformed")
    begin, end = (start + offset for offset in offsets)
    if begin % WEIGHT_ALIGNMENT:
        raise _malformed(path, f"{name} starts at byte {begin}, no multiple of {WEIGHT_ALIGNMENT}")
    return content[begin:end]


def _malformed(path: Path, message: str) -> ArtifactError:
    return ArtifactError(message, where=str(path), hint="Compile the model again.")
