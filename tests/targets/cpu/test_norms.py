"""Norm kernels against float64 mathematics: in place, rounded, and the same bits for any rows."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
import torch

from ingot.ir.rounding import round_activations
from ingot.targets.cpu.kernels.activation import glu_kernel
from ingot.targets.cpu.kernels.norm import layer_norm_kernel, rms_norm_kernel
from ingot.targets.cpu.kernels.rounding import float_row_bytes, rounded_row_bytes
from ingot.targets.cpu.levels import AVX2, AVX512

Jit = Callable[..., Any]
EPS = 1e-5


def rows(data: np.ndarray) -> np.ndarray:
    """Return a buffer of padded rows; the padding is NaN and must not matter."""
    buffer = np.full((len(data), float_row_bytes(data.shape[1]) // 4), np.nan, np.float32)
    buffer[:, : data.shape[1]] = data
    return buffer


def stride(buffer: np.ndarray) -> int:
    """Bytes between rows."""
    return int(buffer.strides[0])


def normal(seed: int, *shape: int) -> np.ndarray:
    """Normal numbers with an offset, so that a mean matters."""
    numbers = np.random.default_rng(seed).standard_normal(shape) * 3 + 1
    return numbers.astype(np.float32)


def exact_norm(kind: str, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """Normalise the last dimension in float64."""
    x = x.astype(np.float64)
    if kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    result = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + EPS) * w.astype(np.float64)
    return result if b is None else result + b.astype(np.float64)


@pytest.mark.parametrize("features", [9, 64, 200, 1030])
@pytest.mark.parametrize("kind", ["rms", "layer", "biased layer"])
@pytest.mark.parametrize("residual", [False, True])
def test_norms_of_whole_rows(
    kind: str, residual: bool, features: int, jit: Jit, level: Any
) -> None:
    bias = kind.startswith("biased")
    kernel = (
        rms_norm_kernel(features, EPS, residual=residual)
        if kind == "rms"
        else layer_norm_kernel(features, EPS, bias=bias, residual=residual)
    )
    x, r = normal(1, 5, features), normal(2, 5, features)
    w, b = normal(3, features), normal(4, features)
    source, other = rows(x), rows(r)
    result = np.full((6, source.shape[1]), 77, np.float32)
    summed = [other, stride(other), other, stride(other)] if residual else []
    slots = [source, stride(source), *summed, result, stride(result), w, *([b] if bias else [])]
    jit([kernel], level)(kernel.name, slots, 0, 5)
    total = x + r if residual else x
    if residual:
        np.testing.assert_array_equal(other[:, :features], total)
    expected = exact_norm(kind.split()[-1], total, w, b if bias else None)
    np.testing.assert_allclose(result[:5, :features], expected, rtol=2e-6, atol=2e-6)
    assert (result[5] == 77).all() and (result[:, features:] == 77).all()


@pytest.mark.parametrize(("heads", "head_dim"), [(3, 8), (5, 40), (2, 64)])
def test_heads_are_normalised_alone_and_in_place(
    heads: int, head_dim: int, jit: Jit, level: Any
) -> None:
    kernel = rms_norm_kernel(head_dim, EPS, heads=heads)
    x, w = normal(5, 4, heads * head_dim), normal(6, head_dim)
    source = rows(x)
    slots = [source, stride(source), source, stride(source), w]
    jit([kernel], level)(kernel.name, slots, 0, 4)
    expected = exact_norm("rms", x.reshape(4, heads, head_dim), w, None).reshape(4, -1)
    np.testing.assert_allclose(source[:, : heads * head_dim], expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(("heads", "features"), [(1, 77), (3, 64)])
def test_rounded_results_are_the_rounding_of_float_results(
    heads: int, features: int, jit: Jit, level: Any
) -> None:
    plain = rms_norm_kernel(features, EPS, heads=heads)
    rounded = rms_norm_kernel(features, EPS, heads=heads, sink="rounded")
    width = heads * features
    source, w = rows(normal(7, 6, width)), normal(8, features)
    floats = np.zeros_like(source)
    result = np.zeros((6, rounded_row_bytes(width)), np.uint8)
    loaded = jit([plain, rounded], level)
    loaded(plain.name, [source, stride(source), floats, stride(floats), w], 0, 6)
    loaded(rounded.name, [source, stride(source), result, stride(result), w], 0, 6)
    expected = round_activations(torch.from_numpy(floats[:, :width].copy()))
    groups = -(-width // 32)
    data = result[:, : 48 * groups].reshape(6, groups, 48)
    integers = data[:, :, :32].copy().view(np.int8).reshape(6, -1)[:, :width]
    scales = data[:, :, 32:36].copy().view(np.float32)[..., 0]
    np.testing.assert_array_equal(integers, expected.values.numpy())
    np.testing.assert_array_equal(scales, expected.scales.numpy())


def test_a_row_has_the_same_bits_wherever_it_stands(jit: Jit, level: Any) -> None:
    kernel = layer_norm_kernel(333, EPS, bias=True)
    x, w, b = normal(9, 11, 333), normal(10, 333), normal(11, 333)
    loaded = jit([kernel], level)

    def run(data: np.ndarray, shares: list[int]) -> np.ndarray:
        source = rows(data)
        result = np.zeros_like(source)
        slots = [source, stride(source), result, stride(result), w, b]
        for begin, end in pairwise(shares):
            loaded(kernel.name, slots, begin, end)
        return result[:, :333]

    together = run(x, [0, 11])
    np.testing.assert_array_equal(together, run(x, [0, 1, 4, 11]))
    for row in range(11):
        np.testing.assert_array_equal(together[row : row + 1], run(x[row : row + 1], [0, 1]))


def test_avx2_and_avx512_agree_bit_for_bit(jit: Jit) -> None:
    features = llvm.get_host_cpu_features()
    levels = [lv for lv in (AVX2, AVX512) if all(features.get(f) for f in lv.features)]
    norm = rms_norm_kernel(203, EPS, sink="rounded")
    glu = glu_kernel("gelu", 203, sink="rounded")
    x, w = rows(normal(12, 8, 203)), normal(13, 203)
    results = []
    for level in levels:
        loaded = jit([norm, glu], level)
        result = np.zeros((2, 8, rounded_row_bytes(203)), np.uint8)
        source, target = [x, stride(x)], [stride(result[0])]
        loaded(norm.name, [*source, result[0], *target, w], 0, 8)
        loaded(glu.name, [*source, *source, result[1], *target], 0, 8)
        results.append(result)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
