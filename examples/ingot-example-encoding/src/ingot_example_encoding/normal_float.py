"""NormalFloat4: codes are places in a table of the quantiles of a normal distribution.

Dettmers et al., "QLoRA", 2023: weights are close to normal, so each of the 16 codes is used about
as often.  A group of 64 weights shares a scale, its largest magnitude.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ingot.ir import CustomEncoding

CODEBOOK = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)


@dataclass(frozen=True)
class NormalFloat(CustomEncoding):
    """`value = scale x CODEBOOK[code]`."""

    def encode(self, groups: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the nearest codes, and the scales as they are stored (float16)."""
        scales = groups.abs().amax(-1).clamp(max=65504.0).to(torch.float16)
        divisors = torch.where(scales == 0, 1.0, scales.to(torch.float32)).unsqueeze(-1)
        table = torch.tensor(CODEBOOK)
        codes = torch.bucketize(groups / divisors, (table[1:] + table[:-1]) / 2)
        return codes.to(torch.uint8), scales, None

    def decode(self, codes: Tensor, scales: Tensor, offsets: Tensor | None) -> Tensor:
        """Look the codes up."""
        table = torch.tensor(CODEBOOK).to(scales.dtype)
        return table[codes.long()] * scales


NF4 = NormalFloat(bits=4, group=64, scale_bits=16, name="example-nf4")
