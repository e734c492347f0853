"""How the value of a weight expression becomes parameters of a program: arrays in bytes.

A packing is a row of the table below: the arrays that hold a tensor, and the function that makes
them of its value.  The bytes of the arrays follow each other, each from a multiple of 64 on.

A quantised matrix `[N, K]` is codes and what is known of the groups of K, of which there are G:
value = scale x (code + shift), with codes that are signed, or value = scale x code + minimum.
Groups are whole: K is padded with zeros.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ingot.ir import CustomEncoding, Offset, QuantTensor, Value, encoding_of, shape_of

from .lowering.program import ITEM_BITS, Floats

ALIGNMENT = 64

FLOAT_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Part:
    """One array of a packing: its name there ("" for the values themselves), type and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return -(-prod(self.shape) * ITEM_BITS[self.dtype] // 8)


@dataclass(frozen=True)
class Packing:
    """How a tensor is held: the arrays for a tensor of some type, and their values for a value."""

    parts: Callable[[Value], tuple[Part, ...]]
    arrays: Callable[[Tensor | QuantTensor], Sequence[Tensor]]


def packing_of(value: Value, compute: Floats) -> str:
    """Return the packing of a matrix: by its encoding, or as floats to compute with.

    Encodings of other distributions are decoded, since how they decode is known in torch alone.
    """
    encoding = encoding_of(value)
    if encoding is None or isinstance(encoding, CustomEncoding):
        return compute
    if not encoding.group:
        return "int8"
    kind = {Offset.ZERO_POINT: "-shifts", Offset.MINIMUM: "-minima"}.get(encoding.offset, "")
    return f"int{encoding.bits}-groups{kind}"


def parts_of(packing: str, value: Value) -> tuple[tuple[Part, int], ...]:
    """Return the arrays that hold a tensor, and at which byte each begins."""
    placed, offset = [], 0
    for part in PACKINGS[packing].parts(value):
        placed.append((part, offset))
        offset += -(-part.num_bytes // ALIGNMENT) * ALIGNMENT
    return tuple(placed)


def packed_bytes(packing: str, value: Value) -> int:
    """Return how many bytes a packed tensor takes."""
    last, offset = parts_of(packing, value)[-1]
    return offset + -(-last.num_bytes // ALIGNMENT) * ALIGNMENT


def pack(packing: str, value: Tensor | QuantTensor) -> NDArray[np.uint8]:
    """Return the bytes of an evaluated weight expression."""
    raw = [_bytes(array) for array in PACKINGS[packing].arrays(value)]
    padded = [np.pad(one, (0, -one.size % ALIGNMENT)) for one in raw]
    return np.concatenate(padded)


def _bytes(array: Tensor) -> NDArray[np.uint8]:
    data: NDArray[np.uint8] = array.contiguous().reshape(-1).view(torch.uint8).numpy()
    return data


def _float_packing(dtype: str) -> Packing:
    def parts(value: Value) -> tuple[Part, ...]:
        return (Part("", dtype, tuple(shape_of(value))),)

    def arrays(value: Tensor | QuantTensor) -> Sequence[Tensor]:
        floats = value.dequantize() if isinstance(value, QuantTensor) else value
        return [floats.to(FLOAT_TYPES[dtype])]

    return Packing(parts, arrays)


def _row_parts(value: Value) -> tuple[Part, ...]:
    rows, columns = shape_of(value)
    return Part("codes", "int8", (rows, columns)), Part("scales", "float32", (rows,))


def _row_arrays(value: Tensor | QuantTensor) -> Sequence[Tensor]:
    assert isinstance(value, QuantTensor)
    return [value.values, value.scales.reshape(-1).to(torch.float32)]


def _group_packing(bits: int, beside: str = "") -> Packing:
    """Codes `[N, G g]`, scales `[N, G]` and, if `beside` names them, shifts or minima `[N, G]`."""

    def parts(value: Value) -> tuple[Part, ...]:
        encoding = encoding_of(value)
        assert encoding is not None
        rows, columns = shape_of(value)
        groups = encoding.groups(columns)
        codes = Part("codes", f"int{bits}", (rows, groups * encoding.group))
        found = [codes, Part("scales", "float16", (rows, groups))]
        if beside:
            kind = "int8" if beside == "shifts" else "float16"
            found.append(Part(beside, kind, (rows, groups)))
        return tuple(found)

    def arrays(value: Tensor | QuantTensor) -> Sequence[Tensor]:
        assert isinstance(value, QuantTensor)
        middle = 8 if bits == 4 else 0
        codes = value.values.to(torch.int16) - middle
        whole = value.scales.shape[-1] * value.encoding.group
        codes = torch.nn.functional.pad(codes, (0, whole - codes.shape[-1])).to(torch.int8)
        found = [_nibbles(codes) if bits == 4 else codes, value.scales.to(torch.float16)]
        if beside:
            assert value.offsets is not None
            found.append(_beside(value, beside))
        return found

    return Packing(parts, arrays)


def _beside(value: QuantTensor, kind: str) -> Tensor:
    """Return the zero points as shifts of signed codes, or the minima for signed codes."""
    assert value.offsets is not None
    if kind == "shifts":
        return 8 - value.offsets.to(torch.int8)
    minima = value.offsets.to(torch.float32) + 8 * value.scales.to(torch.float32)
    return minima.to(torch.float16)


def _nibbles(codes: Tensor) -> Tensor:
    """Return signed 4-bit codes two a byte, the first in the low half."""
    low, high = codes[..., 0::2], codes[..., 1::2]
    return (low & 15 | (high & 15) << 4).to(torch.uint8)


PACKINGS = {
    "float32": _float_packing("float32"),
    "bfloat16": _float_packing("bfloat16"),
    "int8": Packing(_row_parts, _row_arrays),
    "int8-groups": _group_packing(8),
    "int4-groups": _group_packing(4),
    "int4-groups-shifts": _group_packing(4, "shifts"),
    "int4-groups-minima": _group_packing(4, "minima"),
}
"""Every packing by its name."""
