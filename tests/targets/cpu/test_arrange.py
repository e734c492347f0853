"""Arrangements of heads, and rotations that begin inside a head, against their definition."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ingot.ir import Piece, parse_pieces
from ingot.ir.pieces import arranged, pieces_text
from ingot.targets.cpu.kernels.arrange import arrange_kernel
from ingot.targets.cpu.kernels.elementwise import add_constant_kernel
from ingot.targets.cpu.kernels.norm import layer_norm_kernel
from ingot.targets.cpu.kernels.rope import Rotation, rope_kernel

Jit = Callable[..., Any]
TOKENS = 5


def buffer(data: np.ndarray) -> np.ndarray:
    """Return padded rows holding `data`; the padding is NaN and must not matter."""
    padded = np.full((len(data), -(-data.shape[1] // 16) * 16), np.nan, np.float32)
    padded[:, : data.shape[1]] = data
    return padded


def slots(*buffers: np.ndarray) -> list[np.ndarray | int]:
    """Return each buffer and the bytes between its rows."""
    return [slot for one in buffers for slot in (one, int(one.strides[0]))]


def normal(seed: int, columns: int) -> np.ndarray:
    numbers = np.random.default_rng(seed).standard_normal((TOKENS, columns))
    return numbers.astype(np.float32)


CASES = {
    "a part of each head": (3, "0 5 21 1 7", (63,)),
    "parts of two, one of which stands in all heads": (4, "0 0 20 1 13; 1 2 0 1 33", (80, 40)),
    "neighbours apart": (2, "0 0 10 2 5; 0 1 10 2 5", (20,)),
    "one column for all": (1, "0 3 0 0 70", (9,)),
    "backwards": (1, "0 8 0 -1 9", (9,)),
    "four operands": (5, "3 0 1 1 1; 2 1 2 1 2; 1 0 0 1 1; 0 0 33 1 33", (165, 1, 12, 5)),
}


@pytest.mark.parametrize("case", CASES)
def test_pieces_of_heads_are_brought_together(case: str, jit: Jit, level: Any) -> None:
    heads, text, widths = CASES[case]
    pieces = parse_pieces(text)
    kernel = arrange_kernel(heads, pieces)
    parts = [normal(seed, width) for seed, width in enumerate(widths)]
    expected = arranged([torch.from_numpy(part) for part in parts], heads, text).numpy()
    result = buffer(np.full(expected.shape, 77, np.float32))
    loaded = jit([kernel], level)
    loaded(kernel.name, slots(*map(buffer, parts), result), 1, TOKENS)
    np.testing.assert_array_equal(result[1:, : expected.shape[1]], expected[1:])
    assert (result[0, : expected.shape[1]] == 77).all()
    assert np.isnan(result[:, expected.shape[1] :]).all()


def test_kernels_of_different_pieces_have_different_names() -> None:
    texts = {pieces_text([Piece(0, offset, 8, 1, 4)]) for offset in range(3)}
    assert len({arrange_kernel(2, parse_pieces(text)).name for text in texts}) == 3


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("head_dim", "rotary_dim", "offset"), [(14, 8, 6), (75, 40, 3)])
def test_a_rotation_may_begin_inside_a_head(
    head_dim: int, rotary_dim: int, offset: int, interleaved: bool, jit: Jit, level: Any
) -> None:
    heads, half = 3, rotary_dim // 2
    x = normal(0, heads * head_dim)
    angles = np.random.default_rng(1).uniform(0, 6, (TOKENS, half))
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    expected = x.reshape(TOKENS, heads, head_dim).astype(np.float64)
    order = np.arange(rotary_dim).reshape((half, 2) if interleaved else (2, half))
    first, second = offset + (order.T if interleaved else order)
    a, b = expected[..., first].copy(), expected[..., second].copy()
    expected[..., first] = a * cos[:, None] - b * sin[:, None]
    expected[..., second] = b * cos[:, None] + a * sin[:, None]
    kernel = rope_kernel(heads, Rotation(head_dim, rotary_dim, interleaved, offset))
    loaded = jit([kernel], level)
    source, table = buffer(x), buffer(np.concatenate([cos, sin], 1))
    loaded(kernel.name, slots(source, table, source), 0, TOKENS)
    got = source[:, : x.shape[1]].reshape(expected.shape)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize("size", [9, 40])
def test_a_layer_norm_of_each_head(size: int, jit: Jit, level: Any) -> None:
    heads = 3
    x, w, b = normal(0, heads * size), normal(1, size)[0], normal(2, size)[0]
    split = torch.from_numpy(x).double().view(TOKENS, heads, size)
    weight, bias = (torch.from_numpy(one).double() for one in (w, b))
    expected = torch.nn.functional.layer_norm(split, (size,), weight, bias, 1e-5).flatten(1)
    kernel = layer_norm_kernel(size, 1e-5, bias=True, heads=heads)
    result = buffer(np.zeros_like(x))
    vectors = [np.resize(one, -(-size // 16) * 16) for one in (w, b)]
    jit([kernel], level)(kernel.name, [*slots(buffer(x), result), *vectors], 0, TOKENS)
    np.testing.assert_allclose(result[:, : x.shape[1]], expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("features", [3, 77])
def test_a_constant_is_added(features: int, jit: Jit, level: Any) -> None:
    x = normal(0, features)
    kernel = add_constant_kernel(features, -1.25)
    result = buffer(np.zeros_like(x))
    jit([kernel], level)(kernel.name, slots(buffer(x), result), 0, TOKENS)
    np.testing.assert_array_equal(result[:, :features], x - np.float32(1.25))
