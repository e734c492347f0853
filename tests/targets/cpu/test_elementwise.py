"""Row-wise kernels against float64 mathematics: every function, odd widths, slices, rounding."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ingot.ir.functions import ACTIVATIONS
from ingot.ir.rounding import round_activations
from ingot.targets.cpu.kernels.activation import activation_kernel, glu_kernel
from ingot.targets.cpu.kernels.elementwise import binary_kernel, scale_kernel, softcap_kernel
from ingot.targets.cpu.kernels.rounding import (
    float_row_bytes,
    round_kernel,
    rounded_row_bytes,
)
from ingot.targets.cpu.kernels.select import select_rows_kernel

Jit = Callable[..., Any]
SENTINEL = np.float32(12345.0)


def rows(data: np.ndarray) -> np.ndarray:
    """Return a buffer of padded rows holding `data`; the padding is NaN and must not matter."""
    buffer = np.full((len(data), float_row_bytes(data.shape[1]) // 4), np.nan, np.float32)
    buffer[:, : data.shape[1]] = data
    return buffer


def blank(count: int, features: int) -> np.ndarray:
    """Return a buffer for results, with one row more than needed."""
    return np.full((count + 1, float_row_bytes(features) // 4), SENTINEL, np.float32)


def stride(buffer: np.ndarray) -> int:
    """Bytes between rows."""
    return int(buffer.strides[0])


def spread(seed: int, *shape: int) -> np.ndarray:
    """Random numbers of many magnitudes."""
    random = np.random.default_rng(seed)
    scale = np.exp2(random.integers(-12, 5, shape))
    return (random.standard_normal(shape) * scale).astype(np.float32)


def ulps(result: np.ndarray, exact: np.ndarray) -> float:
    """Largest error in units of the last place of the exact result."""
    unit = np.spacing(np.maximum(np.abs(exact), 1e-37).astype(np.float32)).astype(np.float64)
    return float(np.max(np.abs(result.astype(np.float64) - exact) / unit))


def unpack_rounded(buffer: np.ndarray, features: int) -> tuple[np.ndarray, ...]:
    """Return integers, scales, scaled sums, sums and starts of rounded rows."""
    groups = -(-features // 32)
    data = buffer[:, : 48 * groups].reshape(len(buffer), groups, 48)
    integers = data[:, :, :32].copy().view(np.int8).reshape(len(buffer), -1)
    words = data[:, :, 32:].copy().view(np.float32)
    starts = data[:, :, 44:].copy().view(np.int32)[..., 0]
    return integers, words[..., 0], words[..., 1], words[..., 2], starts


def check_rounded(buffer: np.ndarray, values: np.ndarray) -> None:
    """Compare rounded rows with the reference rounding of `values`, bit for bit."""
    features = values.shape[1]
    integers, scales, scaled, sums, starts = unpack_rounded(buffer, features)
    expected = round_activations(torch.from_numpy(values))
    np.testing.assert_array_equal(integers[:, :features], expected.values.numpy())
    assert not integers[:, features:].any()
    np.testing.assert_array_equal(scales, expected.scales.numpy())
    totals = integers.reshape(*scales.shape, 32).astype(np.int32).sum(-1)
    np.testing.assert_array_equal(sums, totals.astype(np.float32))
    np.testing.assert_array_equal(scaled, scales * totals.astype(np.float32))
    np.testing.assert_array_equal(starts, 0x4B400000 - 128 * totals)


EXACT: dict[str, Callable[[float], float]] = {
    "silu": lambda x: x / (1 + math.exp(-x)) if x > -700 else 0.0,
    "gelu": lambda x: x / 2 * math.erfc(-x / math.sqrt(2)),
    "gelu_tanh": lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    "tanh": math.tanh,
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
}


def test_the_reference_knows_the_same_functions() -> None:
    assert set(EXACT) == set(ACTIVATIONS)


@pytest.mark.parametrize("kind", EXACT)
def test_activation_functions_are_accurate(kind: str, jit: Jit, level: Any) -> None:
    features = 997
    kernel = activation_kernel(kind, features)
    x = np.concatenate([spread(1, 6, features), np.linspace(-20, 20, features)[None]])
    x = x.astype(np.float32)
    result = blank(len(x), features)
    source = rows(x)
    jit([kernel], level)(kernel.name, [source, stride(source), result, stride(result)], 0, len(x))
    exact = np.vectorize(EXACT[kind])(x.astype(np.float64))
    got = result[: len(x), :features]
    if kind.startswith("gelu"):
        # The definition cancels for negative x: what counts is the error relative to |x|.
        assert np.max(np.abs(got - exact) / np.maximum(np.abs(x), 1e-30)) < 2.5e-7
    else:
        assert ulps(got, exact) < 3.5
    assert (result[len(x) :] == SENTINEL).all() and (result[:, features:] == SENTINEL).all()


@pytest.mark.parametrize("kind", ["silu", "gelu", "gelu_tanh", "tanh", "sigmoid", "softplus"])
def test_extreme_arguments_have_their_limits(kind: str, jit: Jit, level: Any) -> None:
    x = np.array([[0.0, 1e-30, 60.0, -60.0, 1e30, -1e30, np.nan, 5.0]], np.float32)
    kernel = activation_kernel(kind, 8)
    result = blank(1, 8)
    jit([kernel], level)(kernel.name, [x, 32, result, stride(result)], 0, 1)
    expected = ACTIVATIONS[kind](torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(result[0, :8], expected[0], rtol=3e-7, atol=1e-24)


@pytest.mark.parametrize("features", [1, 16, 31, 33, 96, 117])
def test_round_matches_the_reference_bit_for_bit(features: int, jit: Jit, level: Any) -> None:
    x = spread(2, 5, features)
    x[1, : features // 2] = 0.0
    x[2] = np.float32(1e-44) * np.arange(features, dtype=np.float32)
    x[3] = np.arange(features) - features // 2
    x[4, 0] = 127.0
    kernel = round_kernel(features)
    result = np.full((6, rounded_row_bytes(features)), 77, np.uint8)
    source = rows(x)
    jit([kernel], level)(kernel.name, [source, stride(source), result, stride(result)], 0, 5)
    check_rounded(result[:5], x)
    assert (result[5] == 77).all()


def test_rounded_rows_do_not_share_cache_sets() -> None:
    assert [rounded_row_bytes(k) for k in (32, 64, 128, 2048)] == [64, 192, 192, 3136]


@pytest.mark.parametrize("sink", ["float", "rounded"])
@pytest.mark.parametrize("features", [7, 80])
def test_glu_reads_slices_of_one_buffer(sink: str, features: int, jit: Jit, level: Any) -> None:
    both = rows(spread(3, 9, 2 * features))
    plain, wanted = glu_kernel("silu", features), glu_kernel("silu", features, sink=sink)
    loaded = jit([plain, wanted] if sink != "float" else [plain], level)
    up = both[:, features:]
    gate = [both, stride(both), up, stride(both)]
    result = blank(9, features)
    loaded(plain.name, [*gate, result, stride(result)], 0, 9)
    x, y = both[:, :features].astype(np.float64), both[:, features : 2 * features]
    exact = np.vectorize(EXACT["silu"])(x) * y
    assert ulps(result[:9, :features], exact) < 4
    if sink == "rounded":
        rounded = np.zeros((9, rounded_row_bytes(features)), np.uint8)
        for row in range(9):
            loaded(wanted.name, [*gate, rounded, stride(rounded)], row, row + 1)
        check_rounded(rounded, np.ascontiguousarray(result[:9, :features]))


@pytest.mark.parametrize("features", [5, 48, 70])
@pytest.mark.parametrize("operator", ["add", "mul"])
@pytest.mark.parametrize("broadcast", [False, True])
def test_add_and_mul(operator: Any, features: int, broadcast: bool, jit: Jit, level: Any) -> None:
    kernel = binary_kernel(operator, features, broadcast=broadcast)
    x, y = spread(4, 3, features), spread(5, 3, features)
    left, right = rows(x), rows(y)
    second = [y[0].copy()] if broadcast else [right, stride(right)]
    slots = [left, stride(left), *second, left, stride(left)]
    jit([kernel], level)(kernel.name, slots, 0, 3)
    other = y[:1] if broadcast else y
    expected = x + other if operator == "add" else x * other
    np.testing.assert_array_equal(left[:, :features], expected)


def test_scale_and_softcap(jit: Jit, level: Any) -> None:
    scale, cap = scale_kernel(50, 0.3), softcap_kernel(50, 30.0)
    x = spread(6, 4, 50)
    source, result = rows(x), blank(4, 50)
    loaded = jit([scale, cap], level)
    slots = [source, stride(source), result, stride(result)]
    loaded(scale.name, slots, 0, 4)
    np.testing.assert_array_equal(result[:4, :50], x * np.float32(0.3))
    loaded(cap.name, slots, 0, 4)
    assert ulps(result[:4, :50], 30 * np.tanh(x.astype(np.float64) / 30)) < 4


@pytest.mark.parametrize("features", [9, 64])
def test_select_rows(features: int, jit: Jit, level: Any) -> None:
    kernel = select_rows_kernel(features)
    x = spread(7, 12, features)
    source, result = rows(x), blank(3, features)
    ids = np.array([0, 7, 11], np.int32)
    slots = [source, stride(source), ids, result, stride(result)]
    jit([kernel], level)(kernel.name, slots, 0, 3)
    np.testing.assert_array_equal(result[:3, :features], x[ids])
