"""How the CPU target packs NormalFloat4, and how its kernels get the weights back.

A block is 16 outputs by 64 of K: 8 vectors of 16 words, each word 8 codes of one output, and then
16 float16 scales.  Ingot's own linear and embedding kernels do the rest.
"""

import torch
from torch import Tensor

from ingot.ir import QuantTensor
from ingot.targets.cpu.extension import (
    F32,
    I16,
    I32,
    LANES,
    Level,
    Packing,
    Pointer,
    Value,
    Weight,
    constant,
    intrinsic,
    loop,
    select,
)

from .normal_float import CODEBOOK

SPAN, CODES_A_WORD = 64, 8
WORDS = SPAN // CODES_A_WORD
CODE_BYTES = WORDS * LANES * 4
_FLOATS, _INTEGERS = F32.x(LANES), I32.x(LANES)


def pack_rows(weight: Weight, columns: int) -> Tensor:
    """Return rows, a multiple of 16 or padded to one, as blocks; `columns` is a multiple of 64."""
    assert isinstance(weight, QuantTensor)
    rows, k = weight.shape
    missing = -rows % LANES
    codes = torch.nn.functional.pad(weight.values.to(torch.int64), (0, columns - k, 0, missing))
    groups = torch.nn.functional.pad(weight.scales, (0, 0, 0, missing))
    shifts = 4 * torch.arange(CODES_A_WORD)
    words = (codes.view(-1, LANES, columns // SPAN, WORDS, CODES_A_WORD) << shifts).sum(-1)
    blocks = words.permute(0, 2, 3, 1).to(torch.int32).contiguous().view(torch.uint8)
    scales = groups.view(-1, LANES, columns // SPAN).transpose(1, 2).contiguous()
    panels, count = scales.shape[:2]
    parts = [blocks.view(panels, count, CODE_BYTES), scales.view(torch.uint8)]
    return torch.cat(parts, dim=2)


def unpack(level: Level, block: Pointer, to: Pointer) -> None:
    """Store the weights of a block: for each k a vector of 16 outputs."""
    scale = level.half_to_float(block.load(I16.x(LANES), CODE_BYTES))
    with loop(0, WORDS) as words:
        codes = block.load(_INTEGERS, words.index * (LANES * 4))
        here = to.at(words.index * (CODES_A_WORD * LANES * 4))
        for place in range(CODES_A_WORD):
            weights = _looked_up(level, (codes >> 4 * place) & 15) * scale
            here.store(weights, place * LANES * 4)


def _looked_up(level: Level, codes: Value) -> Value:
    """Return `CODEBOOK[code]` of each lane: one shuffle on AVX-512, else a tree of selections."""
    if "avx512f" in level.features:
        table = constant(_FLOATS, list(CODEBOOK))
        return intrinsic("llvm.x86.avx512.permvar.sf.512", _FLOATS, table, codes)
    choices = [constant(_FLOATS, value) for value in CODEBOOK]
    for bit in range(4):
        is_set = (codes & (1 << bit)).differs(0)
        pairs = zip(choices[::2], choices[1::2], strict=True)
        choices = [select(is_set, odd, even) for even, odd in pairs]
    return choices[0]


PACKING = Packing("example-nf4", SPAN, CODE_BYTES + LANES * 2, 0, pack_rows, unpack)
