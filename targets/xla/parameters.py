"""How the value of a weight expression becomes parameters of a program: arrays in bytes.

A packing says which arrays hold a tensor, and makes them of its value.  The bytes of the arrays
follow each other, each from a multiple of 64 on.

A quantised matrix `[N, K]` is codes and what is known of the groups of K, of which there are G:
value = scale x (code + shift), with codes that are signed, or scale x (code + 8) + minimum.
Groups of g elements are whole: K is padded with zeros.  What is multiplied by is held as
`[G, g, N]`, so that the sums of a group are a product of their own and no code is moved before it;
the matrices of experts, B of them, as `[B G, g, N / B]`; a table as `[N, G g]`.
"""

import re
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


def packing_of(value: Value, compute: Floats, *, table: bool = False, blocks: int = 1) -> str:
    """Return the packing of a matrix: by its encoding, or as floats to compute with.

    Of a `table` rows are taken; of others, `blocks` matrices one below the other, products are
    made.  Encodings of other distributions are decoded, since how they decode torch alone knows.
    """
    encoding = encoding_of(value)
    if encoding is None or isinstance(encoding, CustomEncoding):
        return compute
    if not encoding.group:
        return "int8"
    beside = {Offset.ZERO_POINT: "shifts", Offset.MINIMUM: "minima"}.get(encoding.offset, "")
    form = "rows" if table else f"groups{blocks}"
    return "-".join(filter(None, (f"int{encoding.bits}", form, beside)))


def parts_of(packing: str, value: Value) -> tuple[tuple[Part, int], ...]:
    """Return the arrays that hold a tensor, and at which byte each begins."""
    placed, offset = [], 0
    for part in _packing(packing).parts(value):
        placed.append((part, offset))
        offset += -(-part.num_bytes // ALIGNMENT) * ALIGNMENT
    return tuple(placed)


def packed_bytes(packing: str, value: Value) -> int:
    """Return how many bytes a packed tensor takes."""
    last, offset = parts_of(packing, value)[-1]
    return offset + -(-last.num_bytes // ALIGNMENT) * ALIGNMENT


def pack(packing: str, value: Tensor | QuantTensor) -> NDArray[np.uint8]:
    """Return the bytes of an evaluated weight expression."""
    raw = [_bytes(array) for array in _packing(packing).arrays(value)]
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


def _group_packing(bits: int, blocks: int, beside: str) -> Packing:
    """Codes, scales and, if `beside` names them, shifts or minima; `blocks` 0: of a table."""

    def parts(value: Value) -> tuple[Part, ...]:
        encoding = encoding_of(value)
        assert encoding is not None
        rows, columns = shape_of(value)
        groups, size = encoding.groups(columns), encoding.group
        codes: tuple[int, ...] = rows, groups * size
        others = rows, groups
        if blocks:
            codes = blocks * groups, size, rows // blocks
            others = blocks * groups, rows // blocks
        found = [Part("codes", f"int{bits}", codes), Part("scales", "float16", others)]
        if beside:
            found.append(Part(beside, "int8" if beside == "shifts" else "float16", others))
        return tuple(found)

    def arrays(value: Tensor | QuantTensor) -> Sequence[Tensor]:
        assert isinstance(value, QuantTensor)
        found = [_codes(value, bits), value.scales.to(torch.float16)]
        if beside:
            found.append(_beside(value, beside))
        if blocks:
            groups = value.scales.shape[-1]
            found = [_by_group(array, blocks, groups) for array in found]
        return [_nibbles(found[0]) if bits == 4 else found[0], *found[1:]]

    return Packing(parts, arrays)


def _codes(value: QuantTensor, bits: int) -> Tensor:
    """Return signed codes `[N, G g]`."""
    middle = 8 if bits == 4 else 0
    codes = value.values.to(torch.int16) - middle
    whole = value.scales.shape[-1] * value.encoding.group
    return torch.nn.functional.pad(codes, (0, whole - codes.shape[-1])).to(torch.int8)


def _by_group(array: Tensor, blocks: int, groups: int) -> Tensor:
    """Return `[B N, G g]` as `[B G, g, N]`."""
    apart = array.reshape(blocks, array.shape[0] // blocks, groups, -1)
    return apart.permute(0, 2, 3, 1).contiguous()


def _beside(value: QuantTensor, kind: str) -> Tensor:
    """Return the zero points as shifts of signed codes, or the minima as they are."""
    assert value.offsets is not None
    return value.offsets if kind == "minima" else 8 - value.offsets.to(torch.int8)


def _nibbles(codes: Tensor) -> Tensor:
    """Return signed 4-bit codes two a byte, the first in the low half."""
    flat = codes.reshape(-1)
    low, high = flat[0::2], flat[1::2]
    return (low & 15 | (high & 15) << 4).to(torch.uint8)


_FIXED = {
    "float32": _float_packing("float32"),
    "bfloat16": _float_packing("bfloat16"),
    "int8": Packing(_row_parts, _row_arrays),
}


def _packing(name: str) -> Packing:
    """Return the packing called `name`, as `packing_of` names it."""
    if name in _FIXED:
        return _FIXED[name]
    match = re.fullmatch(r"int([48])-(?:rows|groups(\d+))(?:-(shifts|minima))?", name)
    assert match is not None, f"no packing is called {name}"
    return _group_packing(int(match[1]), int(match[2] or 0), match[3] or "")
