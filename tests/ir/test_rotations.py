"""Rotations are orthogonal, deterministic, and spread what a single feature holds."""

import math

import pytest
import torch

from ingot.ir import Rotate, ScaleColumns
from ingot.ir.rotations import rotate

from .conftest import Builder as Build


@pytest.mark.parametrize("size", [1, 2, 6, 7, 33, 64, 576, 896])
def test_a_rotation_keeps_lengths_and_angles(size: int) -> None:
    identity = torch.eye(size, dtype=torch.float64)
    matrix = rotate(identity, 1, size, seed=3)
    torch.testing.assert_close(matrix @ matrix.T, identity, rtol=0, atol=1e-12)
    assert torch.equal(matrix, rotate(identity, 1, size, seed=3))


def test_another_seed_is_another_rotation() -> None:
    x = torch.randn(2, 64)
    assert not torch.equal(rotate(x, 1, 64, seed=0), rotate(x, 1, 64, seed=1))


def test_one_large_feature_is_spread_over_all() -> None:
    x = torch.zeros(1, 576)
    x[0, 100] = 24.0
    assert float(rotate(x, 1, 576, seed=0).abs().max()) <= 24 / math.sqrt(576) * math.sqrt(2) * 1.01


def test_rows_and_columns_cancel_in_a_product() -> None:
    x, w = torch.randn(5, 24, dtype=torch.float64), torch.randn(6, 24, dtype=torch.float64)
    read = rotate(x, 1, 12, seed=1) @ rotate(w, 1, 12, seed=1).T
    torch.testing.assert_close(read, x @ w.T)
    made = x @ rotate(w, 0, 3, seed=2).T
    torch.testing.assert_close(made, rotate(x @ w.T, 1, 3, seed=2))


def test_the_operations_widen_stored_weights(build: Build) -> None:
    w, factors = torch.randn(6, 8).bfloat16(), torch.randn(8)
    turned = build(lambda a: Rotate(a, dim=0, size=3, seed=5), build.weight(6, 8))
    assert torch.equal(turned.reference(w), rotate(w.float(), 0, 3, 5))
    scaled = build(ScaleColumns, build.weight(6, 8), build.weight(8))
    assert torch.equal(scaled.reference(w, factors), w.float() * factors)
