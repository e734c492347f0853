"""Rotary embedding: the table against exact mathematics, rotations against their definition."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ingot.targets.cpu.kernels.rope import Rotation, rope_kernel, rope_table_kernel

Jit = Callable[..., Any]


def buffer(data: np.ndarray) -> np.ndarray:
    """Return padded rows holding `data`; the padding is NaN and must not matter."""
    padded = np.full((len(data), -(-data.shape[1] // 16) * 16), np.nan, np.float32)
    padded[:, : data.shape[1]] = data
    return padded


def stride(array: np.ndarray) -> int:
    """Bytes between rows."""
    return int(array.strides[0])


def rotated(x: np.ndarray, cos: np.ndarray, sin: np.ndarray, interleaved: bool) -> np.ndarray:
    """Rotate `[T, heads, head_dim]` by `[T, rotary_dim / 2]` in float64."""
    half = cos.shape[1]
    result = x.astype(np.float64)
    first = slice(0, 2 * half, 2) if interleaved else slice(0, half)
    second = slice(1, 2 * half, 2) if interleaved else slice(half, 2 * half)
    a, b = result[..., first].copy(), result[..., second].copy()
    result[..., first] = a * cos[:, None] - b * sin[:, None]
    result[..., second] = b * cos[:, None] + a * sin[:, None]
    return result


@pytest.mark.parametrize("scale", [1.0, 1.25])
@pytest.mark.parametrize("rotary_dim", [4, 40, 128])
def test_the_table_is_correct_to_the_last_place(
    rotary_dim: int, scale: float, jit: Jit, level: Any
) -> None:
    positions = np.array([0, 1, 2, 77, 4095, 131071, 999_983], np.int32)
    inv_freq = (10000.0 ** -(np.arange(0, rotary_dim, 2) / rotary_dim)).astype(np.float32)
    kernel = rope_table_kernel(rotary_dim, scale)
    table = buffer(np.full((8, rotary_dim), 77))
    jit([kernel], level)(kernel.name, [positions, inv_freq, table, stride(table)], 0, 7)
    angles = (positions.astype(np.float32)[:, None] * inv_freq).astype(np.float64)
    exact = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    single = exact.astype(np.float32) * np.float32(scale)
    got = table[:7, :rotary_dim]
    error = np.abs(got - exact * scale) / np.spacing(np.abs(single) + np.float32(1e-9))
    assert error.max() < (0.51 if scale == 1.0 else 1.13)
    assert (table[7, :rotary_dim] == 77).all()


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(
    ("head_dim", "rotary_dim"), [(8, 8), (12, 4), (40, 40), (64, 16), (128, 128)]
)
def test_heads_are_rotated(
    head_dim: int, rotary_dim: int, interleaved: bool, jit: Jit, level: Any
) -> None:
    heads, tokens = 3, 5
    random = np.random.default_rng(head_dim)
    x = random.standard_normal((tokens, heads * head_dim)).astype(np.float32)
    angles = random.uniform(0, 6, (tokens, rotary_dim // 2))
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    table = buffer(np.concatenate([cos, sin], 1))
    kernel = rope_kernel(heads, Rotation(head_dim, rotary_dim, interleaved))
    loaded = jit([kernel], level)
    source, target = buffer(x), buffer(np.full((tokens, x.shape[1]), 77))
    slots = [source, stride(source), table, stride(table)]
    loaded(kernel.name, [*slots, target, stride(target)], 0, tokens)
    expected = rotated(x.reshape(tokens, heads, head_dim), cos, sin, interleaved)
    got = target[:, : x.shape[1]].reshape(expected.shape)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=3e-7)
    assert np.isnan(target[:, x.shape[1] :]).all()
    loaded(kernel.name, [*slots, source, stride(source)], 0, tokens)
    np.testing.assert_array_equal(source, target)
