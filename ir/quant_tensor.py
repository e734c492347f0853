"""A quantised tensor in memory: codes, scales and offsets."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .encoding import CustomEncoding, Encoding, Offset


@dataclass(frozen=True)
class QuantTensor:
    """A tensor `[..., K]` in an encoding, not packed: one code an element.

    `values` `[..., K]` are codes: uint8 for 4 bits, int8 for 8.  `scales` `[..., groups]` are
    float16 or float32 as the encoding says.  `offsets` `[..., groups]` are zero points (uint8) or
    minima (float16), or None.  A `CustomEncoding` chooses the types of codes and offsets itself.
    """

    encoding: Encoding
    values: Tensor
    scales: Tensor
    offsets: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the tensor it stands for."""
        return tuple(self.values.shape)

    def rows(self, indices: Tensor) -> "QuantTensor":
        """Return the rows of the first dimension that `indices` names."""
        offsets = None if self.offsets is None else self.offsets[indices]
        return QuantTensor(self.encoding, self.values[indices], self.scales[indices], offsets)

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the values it stands for, `[..., K]` of `dtype`."""
        columns = self.values.shape[-1]
        size = self.encoding.group_size(columns)
        missing = -columns % size
        codes = torch.nn.functional.pad(self.values, (0, missing)) if missing else self.values
        grouped = codes.reshape(*self.scales.shape, size)
        values = self._decode(grouped, self.scales.to(dtype).unsqueeze(-1), dtype)
        return values.reshape(*self.shape[:-1], -1)[..., :columns]

    def _decode(self, codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
        """Return values `[..., groups, group size]`."""
        if isinstance(self.encoding, CustomEncoding):
            beside = None if self.offsets is None else self.offsets.to(dtype).unsqueeze(-1)
            return self.encoding.decode(codes, scales, beside)
        codes = codes.to(dtype)
        if self.encoding.offset is Offset.MIDDLE:
            return codes.sub_(1 << (self.encoding.bits - 1)).mul_(scales)
        if self.offsets is None:
            return codes.mul_(scales)
        offsets = self.offsets.to(dtype).unsqueeze(-1)
        if self.encoding.offset is Offset.ZERO_POINT:
            return codes.sub_(offsets).mul_(scales)
        return codes.mul_(scales).add_(offsets)


def concatenate(parts: "list[QuantTensor]") -> QuantTensor:
    """Return the parts joined along the first dimension; all of one encoding and K."""
    first = parts[0]
    assert all(part.encoding == first.encoding for part in parts)
    offsets = [part.offsets for part in parts if part.offsets is not None]
    return QuantTensor(
        first.encoding,
        torch.cat([part.values for part in parts]),
        torch.cat([part.scales for part in parts]),
        torch.cat(offsets) if offsets else None,
    )
