"""Orthogonal matrices that are applied in few operations, to spread what single features hold.

R of size n = m · 2^k, m odd, is diag(±1) · (C ⊗ W): signs drawn from a seed, the orthonormal
discrete cosine transform of size m, and the Walsh-Hadamard matrix over 2^(k/2).  Randomised
Hadamard matrices are those of QuIP# (Tseng et al., 2024) and QuaRot (Ashkboos et al., 2024); the
cosine transform serves the sizes for which no Hadamard matrix is at hand.
"""

import math
import random

import torch
from torch import Tensor

_LARGEST_FACTOR = 64


def rotate(x: Tensor, dim: int, size: int, seed: int) -> Tensor:
    """Return x with every block of `size` elements along `dim` times R, in x's type.

    The sums are in float64, so that float32 results do not depend on their order.
    """
    moved = x.movedim(dim, -1)
    blocks = moved.to(torch.float64).reshape(-1, size) * _signs(size, seed)
    right = size
    for factor in orthogonal_factors(size):
        right //= len(factor)
        parts = blocks.reshape(-1, len(factor), right)
        blocks = torch.einsum("bir,ij->bjr", parts, factor)
    return blocks.reshape(moved.shape).movedim(-1, dim).to(x.dtype).contiguous()


def orthogonal_factors(size: int) -> list[Tensor]:
    """Return float64 orthogonal matrices whose Kronecker product is R without its signs."""
    power = size & -size
    factors = [_cosines(size // power)] if power < size else []
    while power > 1:
        step = min(power, _LARGEST_FACTOR)
        factors.append(_hadamard(step))
        power //= step
    return factors


def _signs(size: int, seed: int) -> Tensor:
    bits = random.Random(seed)
    return torch.tensor([1.0 - 2.0 * bits.getrandbits(1) for _ in range(size)], dtype=torch.float64)


def _hadamard(size: int) -> Tensor:
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix / math.sqrt(size)


def _cosines(size: int) -> Tensor:
    """Return the matrix whose columns are the vectors of the second discrete cosine transform."""
    index = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(torch.outer(2 * index + 1, index) * (math.pi / (2 * size)))
    matrix *= math.sqrt(2 / size)
    matrix[:, 0] = 1 / math.sqrt(size)
    return matrix
