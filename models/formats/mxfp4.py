"""Decodes MXFP4: 4-bit floats in blocks of 32 that share a power of two.

The format is of the OCP Microscaling Formats specification, version 1.0, sections 5.3.3 and 6.3.
GPT-OSS stores its experts in it, as `NAME_blocks` `[E, N, K/32, 16]` and `NAME_scales`
`[E, N, K/32]` bytes, for a parameter NAME that is `[E, K, N]`.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ingot.errors import CheckpointError
from ingot.models.weights import StoredWeight, WeightInfo

QUANT_METHOD = "mxfp4"
_BLOCKS, _SCALES = "_blocks", "_scales"
_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_EXPONENT_BIAS = 127


def decode_mxfp4(stored: Mapping[str, StoredWeight], *, where: str) -> dict[str, StoredWeight]:
    """Return `stored` with each pair of blocks and scales as one bfloat16 weight.

    Every value is exact in bfloat16, whose exponent has the range of the scales.  Raises
    CheckpointError for blocks without fitting scales.
    """
    decoded = dict(stored)
    for name in stored:
        if not name.endswith(_BLOCKS):
            continue
        base = name.removesuffix(_BLOCKS)
        blocks, scales = decoded.pop(name), decoded.pop(base + _SCALES, None)
        shape = blocks.info.shape
        bytes_alone = blocks.info.stored == torch.uint8 and len(shape) == 4
        if scales is None or scales.info != WeightInfo(shape[:-1], torch.uint8) or not bytes_alone:
            raise CheckpointError(
                f"{name!r} has no fitting {base + _SCALES!r}",
                where=where,
                hint="Download the checkpoint again; every file that its index names is needed.",
            )
        experts, rows, groups, size = shape
        info = WeightInfo((experts, groups * size * 2, rows), torch.bfloat16)
        decoded[base] = StoredWeight(info, _reader(blocks, scales))
    return decoded


def _reader(blocks: StoredWeight, scales: StoredWeight) -> Callable[[], Tensor]:
    def read() -> Tensor:
        codes, exponents = blocks.read(), scales.read()
        assert isinstance(codes, Tensor) and isinstance(exponents, Tensor)
        # One expert at a time: the intermediate values take four times the bytes of the result.
        pairs = zip(codes, exponents, strict=True)
        return torch.stack([_decode(c, e) for c, e in pairs]).transpose(1, 2)

    return read


def _decode(codes: Tensor, exponents: Tensor) -> Tensor:
    """Return `[N, K]` bfloat16 for codes `[N, K/32, 16]` and exponents `[N, K/32]`."""
    signed = torch.tensor([*_MAGNITUDES, *(-m for m in _MAGNITUDES)], dtype=torch.float32)
    halves = torch.stack([codes & 15, codes >> 4], dim=-1).flatten(-2)
    powers = (exponents.int() - _EXPONENT_BIAS).unsqueeze(-1)
    return torch.ldexp(signed[halves.int()], powers).to(torch.bfloat16).flatten(1)
