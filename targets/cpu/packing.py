"""Packed weights: the byte layouts that the CPU kernels read, and tensors put into them.

A block is 16 outputs (lanes) by a span of K; blocks of K follow each other, blocks of N follow
those.  N is padded to 16 and K to the span, with zeros.  docs/architecture.md, section 5, has
the table.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint

import torch
from torch import Tensor

from ingot.errors import UnsupportedError
from ingot.extensions import Group, Owner
from ingot.ir import CustomEncoding, Encoding, QuantTensor

from .build import Pointer
from .integer_layout import GROUP, LANES, IntegerLayout
from .integer_packing import INTEGER_LAYOUTS, integer_packing_name, pack_integers
from .levels import Level

__all__ = [
    "EXTENSIONS",
    "GROUP",
    "LANES",
    "PACKINGS",
    "UNPACKED_SPAN",
    "IntegerLayout",
    "Packing",
    "Weight",
    "pack_columns",
    "pack_vector",
    "packing_for",
    "packing_named",
    "registered_packing",
]

UNPACKED_SPAN = 128
"""Elements of K that kernels unpack at once: spans of packings of other distributions divide it."""

EXTENSIONS = Group("ingot.cpu_packings", "CPU packing", "CPU packings")

# Rows are packed a few at a time, so that the temporaries stay in the cache.
_CHUNK_ELEMENTS = 1 << 18

Weight = Tensor | QuantTensor


@dataclass(frozen=True)
class Packing:
    """One layout.

    A block of `span` elements of K takes `block_bytes`; `tail_bytes` follow the blocks of K of
    every block of N.  `pack_rows` lays out rows whose number is a multiple of 16.  `unpack`, which
    the packings of other distributions have, builds the code that brings a block back: from its
    address to another, at which it stores the float32 weights of 16 outputs for each k.  `layout`
    says what a block of one of our integer packings holds.
    """

    name: str
    span: int
    block_bytes: int
    tail_bytes: int
    pack_rows: Callable[[Weight, int], Tensor]
    unpack: Callable[[Level, Pointer, Pointer], None] | None = None
    layout: IntegerLayout | None = None

    def blocks(self, k: int) -> int:
        """Return the number of blocks along K."""
        return -(-k // self.span)

    def panel_bytes(self, k: int) -> int:
        """Return the bytes of 16 outputs."""
        return self.blocks(k) * self.block_bytes + self.tail_bytes

    def packed_bytes(self, n: int, k: int) -> int:
        """Return the bytes of a packed `[n, k]` tensor."""
        return -(-n // LANES) * self.panel_bytes(k)

    def pack(self, weight: Weight) -> Tensor:
        """Return `weight` `[N, K]` packed, as uint8 `[packed_bytes(N, K)]`.

        A quantised tensor must be in an encoding of this packing, or is decoded where that holds
        floats; a float tensor is converted.
        """
        n, k = weight.shape
        packed = torch.empty(self.packed_bytes(n, k), dtype=torch.uint8)
        panel = self.panel_bytes(k)
        for start, rows in _row_chunks(weight):
            part = self.pack_rows(rows, self.blocks(k) * self.span)
            begin = start // LANES * panel
            packed[begin : begin + part.numel()] = part.reshape(-1)
        return packed


def packing_for(stored: Encoding | torch.dtype) -> Packing:
    """Return the packing of an encoding or of a float type (float16 widens to float32).

    An encoding of another distribution that brings no packing is decoded to float32.
    """
    if isinstance(stored, CustomEncoding):
        return registered_packing(stored.name) or PACKINGS["f32"]
    if isinstance(stored, Encoding):
        return PACKINGS[_integer_packing(stored)]
    if stored == torch.bfloat16:
        return PACKINGS["bf16"]
    if stored in (torch.float32, torch.float16):
        return PACKINGS["f32"]
    raise UnsupportedError(
        f"the CPU target has no packing for {stored}", hint="Convert the weight to float32."
    )


def packing_named(name: str) -> Packing:
    """Return the packing called `name`; that of another distribution is called as its encoding."""
    found = PACKINGS.get(name) or registered_packing(name)
    assert found is not None, f"no packing is called {name}"
    return found


def registered_packing(
    encoding: str, extensions: Iterable[EntryPoint] | None = None
) -> Packing | None:
    """Return the packing that another distribution brings for an encoding, None if none does.

    Raises ExtensionError where that cannot be imported; `extensions` stands for the installed
    entry points of the group `ingot.cpu_packings`.
    """
    owner = EXTENSIONS.owners({}, _accept, extensions).get(encoding)
    found = None if owner is None else owner.load()
    assert found is None or isinstance(found, Packing)
    return found


def _accept(owner: Owner, found: object) -> object:
    if not isinstance(found, Packing) or found.name != owner.name or found.unpack is None:
        raise EXTENSIONS.refuse(owner, found, f"a Packing called {owner.name} that can unpack")
    if UNPACKED_SPAN % found.span:
        raise EXTENSIONS.refuse(owner, found, f"a Packing whose span divides {UNPACKED_SPAN}")
    return found


def pack_vector(values: Tensor) -> Tensor:
    """Return a bias or norm weight `[N]` as the bytes of float32, padded with zeros to 16."""
    padded = torch.zeros(-(-values.numel() // LANES) * LANES)
    padded[: values.numel()] = values.to(torch.float32)
    return padded.view(torch.uint8)


def pack_columns(values: Tensor) -> Tensor:
    """Return `[N, K]` or `[N, 1, K]` as the bytes of K float32 columns, each padded to 16."""
    matrix = values.reshape(values.shape[0], -1).to(torch.float32)
    padded = torch.zeros(matrix.shape[1], -(-matrix.shape[0] // LANES) * LANES)
    padded[:, : matrix.shape[0]] = matrix.T
    return padded.view(torch.uint8).reshape(-1)


def _integer_packing(encoding: Encoding) -> str:
    if encoding.activation:
        raise UnsupportedError(
            f"{encoding} is an encoding of activations, not of weights",
            hint="Choose one of the int4 and int8 weight encodings.",
        )
    return integer_packing_name(encoding)


def _row_chunks(weight: Weight) -> Iterator[tuple[int, Weight]]:
    n, k = weight.shape
    step = max(LANES, _CHUNK_ELEMENTS // max(k, 1) // LANES * LANES)
    for start in range(0, n, step):
        indices = torch.arange(start, min(start + step, n))
        if isinstance(weight, QuantTensor):
            yield start, weight.rows(indices)
        else:
            yield start, weight[start : start + step]


def _padded(rows: Tensor, columns: int) -> Tensor:
    """Return `rows` `[n, k]` padded to a multiple of 16 rows and to `columns`."""
    n, k = rows.shape
    return torch.nn.functional.pad(rows, (0, columns - k, 0, -n % LANES))


def _bytes(values: Tensor) -> Tensor:
    return values.contiguous().view(torch.uint8).view(-1)


def _pack_f32(weight: Weight, columns: int) -> Tensor:
    floats = weight.dequantize() if isinstance(weight, QuantTensor) else weight
    rows = _padded(floats.to(torch.float32), columns)
    return _bytes(rows.view(-1, LANES, columns).transpose(1, 2))


def _pack_bf16(weight: Weight, columns: int) -> Tensor:
    assert isinstance(weight, Tensor)
    rows = _padded(weight.to(torch.bfloat16), columns)
    return _bytes(rows.view(-1, LANES, columns // 2, 2).transpose(1, 2))


def _pack_integers(layout: IntegerLayout, weight: Weight, columns: int) -> Tensor:
    assert isinstance(weight, QuantTensor)
    return pack_integers(layout, weight, columns)


def _integer(name: str, layout: IntegerLayout) -> Packing:
    pack_rows = partial(_pack_integers, layout)
    sizes = layout.span, layout.block_bytes, layout.tail_bytes
    return Packing(name, *sizes, pack_rows, layout=layout)


PACKINGS = {
    packing.name: packing
    for packing in (
        *(_integer(name, layout) for name, layout in INTEGER_LAYOUTS.items()),
        Packing("f32", 1, 64, 0, _pack_f32),
        Packing("bf16", 2, 64, 0, _pack_bf16),
    )
}
"""Every packing by its name."""
