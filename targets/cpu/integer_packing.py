"""Quantised tensors put into the integer layouts.

Four codes of a lane that follow each other along K are a 32-bit word; all rearranging moves whole
words.
"""

import torch
from torch import Tensor

from ingot.ir import Encoding, Offset, QuantTensor

from .integer_layout import GROUP, LANES, IntegerLayout

_WORDS = GROUP // 4
"""32-bit words of a lane in a group of 32."""
_MIDDLE_BYTES = -0x7F7F7F80
"""0x80808080 as a signed number: turns signed bytes into bytes that are code + 128."""

INTEGER_LAYOUTS = {
    "q4z": IntegerLayout(4, 32, 128, Offset.ZERO_POINT),
    "q4z64": IntegerLayout(4, 64, 128, Offset.ZERO_POINT),
    "q4z128": IntegerLayout(4, 128, 128, Offset.ZERO_POINT),
    "q4s": IntegerLayout(4, 32, 128, Offset.MIDDLE),
    "q4s64": IntegerLayout(4, 64, 128, Offset.MIDDLE),
    "q4s128": IntegerLayout(4, 128, 128, Offset.MIDDLE),
    "q4m": IntegerLayout(4, 32, 32, Offset.MINIMUM),
    "q8g": IntegerLayout(8, 32, 64, Offset.NONE),
    "q8c": IntegerLayout(8, 0, 32, Offset.NONE),
}
"""Every integer layout by the name of its packing."""


def integer_packing_name(encoding: Encoding) -> str:
    """Return the name of the packing of an integer encoding of weights."""
    return next(
        name
        for name, layout in INTEGER_LAYOUTS.items()
        if (layout.bits, layout.group, layout.offset)
        == (encoding.bits, encoding.group, encoding.offset)
    )


def pack_integers(layout: IntegerLayout, weight: QuantTensor, columns: int) -> Tensor:
    """Return rows of a quantised tensor in `layout`, K padded to `columns` (whole blocks), as bytes
    `[panels, panel bytes]`; rows are padded to a multiple of 16 with rows of zeros.
    """
    encoding = weight.encoding
    same = (encoding.bits, encoding.group, encoding.offset)
    assert same == (layout.bits, layout.group, layout.offset), f"{encoding} in {layout}"
    panels, blocks = -(-weight.shape[0] // LANES), columns // layout.span
    packed = torch.empty(panels, blocks * layout.block_bytes + layout.tail_bytes, dtype=torch.uint8)
    body = packed[:, : blocks * layout.block_bytes].view(panels, blocks, layout.block_bytes)
    body[:, :, : layout.scales_at] = _codes(layout, weight, columns)
    if not layout.group:
        scales = _padded(weight.scales.reshape(-1, 1).to(torch.float32), 1)
        packed[:, -layout.tail_bytes :] = scales.view(panels, LANES).view(torch.uint8)
        return packed
    scales = _per_block(layout, weight.scales.to(torch.float16), blocks)
    body[:, :, layout.scales_at : layout.offsets_at] = scales
    if layout.offset_bytes:
        assert weight.offsets is not None
        if layout.offset is Offset.ZERO_POINT:
            assert int(weight.offsets.max()) <= 15, "zero points of int4 are 0..15"
        body[:, :, layout.offsets_at :] = _per_block(layout, weight.offsets, blocks)
    return packed


def _codes(layout: IntegerLayout, weight: QuantTensor, columns: int) -> Tensor:
    """Return codes as `[panels, blocks, bytes]`, words of 16 lanes side by side.

    Nibbles: word j of a group in the low, word j + 4 in the high halves of one.
    """
    rows = _padded(weight.values, columns, _padding_code(layout))
    words = rows.view(torch.int32).view(-1, LANES, columns // GROUP, _WORDS)
    if layout.bits == 4:
        half = _WORDS // 2
        words = words[..., :half] | (words[..., half:] << 4)
    else:
        words = words ^ _MIDDLE_BYTES
    panels, blocks = words.shape[0], columns // layout.span
    return words.permute(0, 2, 3, 1).reshape(panels, blocks, -1).view(torch.uint8)


def _padding_code(layout: IntegerLayout) -> int:
    """Return a code that stands for zero whatever the scale, where there is one."""
    return 8 if layout.offset is Offset.MIDDLE else 0


def _per_block(layout: IntegerLayout, values: Tensor, blocks: int) -> Tensor:
    """Scales or offsets `[n, groups]` to bytes `[panels, blocks, bytes]`, lanes side by side."""
    groups = blocks * layout.scaled_groups
    rows = _padded(values, groups).view(-1, LANES, groups)
    turned = rows.transpose(1, 2).reshape(rows.shape[0], blocks, -1)
    return turned.contiguous().view(torch.uint8)


def _padded(rows: Tensor, columns: int, fill: int = 0) -> Tensor:
    """Return `rows` `[n, k]` contiguous, padded to a multiple of 16 rows and to `columns`."""
    n, k = rows.shape
    if k == columns and n % LANES == 0:
        return rows.contiguous()
    return torch.nn.functional.pad(rows, (0, columns - k, 0, -n % LANES), value=fill)
