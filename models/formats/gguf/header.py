"""Reads the header of a GGUF file: metadata and the table of tensors, in one pass over the bytes.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from ingot.errors import CheckpointError, UnsupportedError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}


@dataclass(frozen=True)
class Tensor:
    """One row of the table: shape with the fastest dimension last, bytes from the file's start."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    offset: int
    size: int


@dataclass(frozen=True)
class Header:
    """Everything in a GGUF file but the tensors' data."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def read_header(path: Path) -> Header:
    """Read metadata and tensor table; raises CheckpointError where the file is damaged."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _parse(path, _Cursor(data))
        except (struct.error, UnicodeDecodeError, KeyError, OverflowError) as error:
            raise _damaged(path, f"its header cannot be read ({error})") from error


class _Cursor:
    """A place in the file; each method reads one value and moves past it."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.place = data, 0

    def scalars(self, codes: str) -> tuple[Any, ...]:
        layout = struct.Struct("<" + codes)
        values = layout.unpack_from(self.data, self.place)
        self.place += layout.size
        return values

    def string(self) -> str:
        (length,) = self.scalars("Q")
        end = self.place + length
        if end > len(self.data):
            raise struct.error("a string reaches past the end")
        text = self.data[self.place : end].decode("utf-8")
        self.place = end
        return text

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.scalars(SCALARS[kind])[0]
        element, count = self.scalars("IQ")
        if count > len(self.data):
            raise struct.error("an array reaches past the end")
        if element in SCALARS:
            return list(self.scalars(f"{count}{SCALARS[element]}"))
        return [self.value(element) for _ in range(count)]


def _parse(path: Path, cursor: _Cursor) -> Header:
    magic, version, tensor_count, value_count = cursor.scalars("4sIQQ")
    assert magic == MAGIC
    if version not in VERSIONS:
        raise UnsupportedError(
            f"GGUF version {version} is not among those read here, {VERSIONS}",
            where=str(path),
            hint="Convert the model again with a current llama.cpp.",
        )
    metadata = {}
    for _ in range(value_count):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.scalars("I")[0])
    rows = []
    for _ in range(tensor_count):
        name, (rank,) = cursor.string(), cursor.scalars("I")
        rows.append((name, *cursor.scalars(f"{rank}QIQ")))
    alignment = metadata.get("general.alignment", 32)
    start = -(-cursor.place // alignment) * alignment
    tensors = {row[0]: _tensor(path, row, start, len(cursor.data)) for row in rows}
    return Header(path, metadata, tensors)


def _tensor(path: Path, row: tuple[Any, ...], start: int, file_size: int) -> Tensor:
    name, *extents, kind_number, offset = row
    try:
        kind = GGMLQuantizationType(kind_number)
        block, block_size = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError) as error:
        raise UnsupportedError(
            f"tensor {name!r} has the block type {kind_number}, which is not known here",
            where=str(path),
            hint="Convert the model to a common type, such as Q4_1, Q8_0 or F16.",
        ) from error
    size = prod(extents) // block * block_size
    if extents and extents[0] % block:
        raise _damaged(path, f"a row of {name!r} is not a whole number of blocks")
    if start + offset + size > file_size:
        raise _damaged(path, f"{name!r} ends at byte {start + offset + size} of {file_size}")
    return Tensor(name, tuple(reversed(extents)), kind, start + offset, size)


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"the GGUF file is truncated or damaged: {what}",
        where=str(path),
        hint="Download or copy the file again.",
    )
