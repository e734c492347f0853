"""Kernels of one row a sequence: poolings and lengths of one."""

from typing import Any

import numpy as np
import pytest
import torch

from ingot.ir.interpreter.pooling import POOLINGS, pooled
from ingot.targets.cpu.kernels.l2_normalize import l2_normalize_kernel
from ingot.targets.cpu.kernels.pool import pool_kernel
from ingot.targets.cpu.kernels.rounding import float_row_bytes

STARTS = [0, 1, 6, 40]


def rows(data: np.ndarray) -> np.ndarray:
    """Return a buffer of padded rows holding `data`; the padding is NaN and must not matter."""
    buffer = np.full((len(data), float_row_bytes(data.shape[1]) // 4), np.nan, np.float32)
    buffer[:, : data.shape[1]] = data
    return buffer


@pytest.mark.parametrize("features", [5, 64, 77])
@pytest.mark.parametrize("kind", POOLINGS)
def test_pool(kind: str, features: int, jit: Any, level: Any) -> None:
    x = np.random.default_rng(1).standard_normal((STARTS[-1], features)).astype(np.float32)
    source, result = rows(x), rows(np.zeros((4, features), np.float32))
    starts = np.array(STARTS, np.int32)
    kernel = pool_kernel(kind, features)
    slots = [source, source.strides[0], starts, result, result.strides[0]]
    jit([kernel], level)(kernel.name, slots, 0, 3)
    expected = pooled(torch.from_numpy(x).double(), STARTS, kind).numpy()
    np.testing.assert_allclose(result[:3, :features], expected, rtol=1e-5, atol=1e-6)
    assert not result[3, :features].any() and np.isnan(result[:, features:]).all()


@pytest.mark.parametrize("features", [5, 64, 77])
def test_l2_normalize(features: int, jit: Any, level: Any) -> None:
    x = np.random.default_rng(2).standard_normal((3, features)).astype(np.float32)
    x[1] = 0
    source, result = rows(x), rows(np.ones((3, features), np.float32))
    kernel = l2_normalize_kernel(features, 1e-12)
    slots = [source, source.strides[0], result, result.strides[0]]
    jit([kernel], level)(kernel.name, slots, 0, 3)
    expected = torch.nn.functional.normalize(torch.from_numpy(x).double(), dim=-1).numpy()
    np.testing.assert_allclose(result[:, :features], expected, rtol=1e-6)
