"""Embedding rows come out of every packing exactly as the reference reads them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ingot.ir import QuantTensor
from ingot.targets.cpu.kernels.embedding import embedding_kernel
from ingot.targets.cpu.kernels.rounding import float_row_bytes
from ingot.targets.cpu.packing import PACKINGS

Jit = Callable[..., Any]

IDS = np.array([0, 76, 5, 16, 15, 31, 33], np.int32)


@pytest.mark.parametrize("name", PACKINGS)
def test_rows_are_exact(name: str, jit: Jit, level: Any, random_weight: Any, packed: Any) -> None:
    widths = (57, 100, 256)
    loaded = jit([embedding_kernel(name, k) for k in widths], level)
    for k in widths:
        weight = random_weight(name, 77, k)
        expected = weight.dequantize() if isinstance(weight, QuantTensor) else weight
        stride = float_row_bytes(k)
        y = np.full((len(IDS) + 1, stride // 4), 7, np.float32)
        table = packed(name, weight)
        for begin, end in ((0, 3), (3, len(IDS))):
            loaded(embedding_kernel(name, k).name, [IDS, table, y, stride], begin, end)
        rows = torch.from_numpy(y[: len(IDS), :k])
        assert torch.equal(rows, expected[torch.from_numpy(IDS)].to(torch.float32))
        assert np.all(y[len(IDS)] == 7), "the next row was touched"
