"""Writing the KV cache: every byte of a page, in the layout that docs/architecture.md gives."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ingot.targets.cpu.kernels.kv_layout import KvLayout
from ingot.targets.cpu.kernels.kv_write import kv_write_kernel
from ingot.targets.cpu.kernels.rope import Rotation, rope_kernel

Jit = Callable[..., Any]
PAGES, HEADS, TOKENS = 5, 3, 21
STORED = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "int8": np.int8}


def stored_heads(x: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return `[T, heads, head_dim]` as the cache holds it, and the scales of int8."""
    if dtype != "int8":
        return x.astype(STORED[dtype]), None
    scales = np.abs(x).max(-1) / np.float32(127)
    codes = np.rint(x / np.where(scales == 0, np.float32(1), scales)[..., None])
    return codes.astype(np.int8), scales


def write_reference(
    pool: np.ndarray, layout: KvLayout, slots: np.ndarray, k: np.ndarray, v: np.ndarray
) -> None:
    """Write tokens into `pool` `[pages, heads, entry_bytes]` one element at a time."""
    size, per_word = layout.element_bytes, layout.features_per_word
    (keys, key_scales), (values, value_scales) = (stored_heads(x, layout.dtype) for x in (k, v))
    for token, slot in enumerate(slots):
        for head in range(k.shape[1]):
            entry, place = pool[slot // 16, head], slot % 16
            words = np.zeros((layout.key_words, 4), np.uint8)
            flat = words.reshape(-1)
            flat[: layout.head_dim * size] = keys[token, head].view(np.uint8)
            if layout.dtype == "int8":
                flat ^= 0x80
            lanes = entry[: layout.values_offset].reshape(layout.key_words, 16, 4)
            lanes[:, place] = words
            together = layout.step_tokens
            rows = entry[layout.values_offset :][: 16 * layout.value_bytes]
            rows = rows.reshape(16 // together, layout.value_features, together, size)
            rows[place // together, :, place % together] = (
                values[token, head].view(np.uint8).reshape(-1, size)
            )
            for number, scales in enumerate((key_scales, value_scales)):
                if scales is not None:
                    begin = layout.scales_offset + 64 * number + 4 * place
                    entry[begin : begin + 4] = scales[token, head : head + 1].view(np.uint8)
    assert per_word * size == 4


def step(head_dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a buffer of k beside v and the slots of its tokens."""
    random = np.random.default_rng(head_dim)
    both = random.standard_normal((TOKENS, 2 * HEADS * head_dim)).astype(np.float32)
    both[3, :head_dim] = 0.0
    slots = random.permutation(PAGES * 16)[:TOKENS].astype(np.int32)
    return both, both[:, HEADS * head_dim :], slots


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("head_dim", [8, 12, 30, 64])
def test_pages_hold_exactly_what_the_layout_says(
    dtype: Any, head_dim: int, jit: Jit, level: Any
) -> None:
    layout = KvLayout(dtype, head_dim)
    both, v, slots = step(head_dim)
    kernel = kv_write_kernel(layout, HEADS)
    pool = np.full((PAGES, HEADS, layout.entry_bytes), 0xAB, np.uint8)
    expected = pool.copy()
    arguments = [both, both.strides[0], v, both.strides[0], slots, pool]
    loaded = jit([kernel], level)
    loaded(kernel.name, arguments, 0, 8)
    loaded(kernel.name, arguments, 8, TOKENS)
    shape = (TOKENS, HEADS, head_dim)
    k = both[:, : HEADS * head_dim].reshape(shape)
    write_reference(expected, layout, slots, k, np.ascontiguousarray(v).reshape(shape))
    np.testing.assert_array_equal(pool, expected)


@pytest.mark.parametrize("dtype", STORED)
def test_rotating_while_writing_equals_rotating_before(dtype: Any, jit: Jit, level: Any) -> None:
    head_dim, rotation = 24, Rotation(24, 16)
    layout = KvLayout(dtype, head_dim)
    both, v, slots = step(head_dim)
    table = np.random.default_rng(1).uniform(-1, 1, (TOKENS, 16)).astype(np.float32)
    plain, fused = kv_write_kernel(layout, HEADS), kv_write_kernel(layout, HEADS, rotation)
    rope = rope_kernel(HEADS, rotation)
    loaded = jit([plain, fused, rope], level)
    pools = np.zeros((2, PAGES, HEADS, layout.entry_bytes), np.uint8)
    rows, angles = both.strides[0], [table, table.strides[0]]
    loaded(fused.name, [both, rows, v, rows, *angles, slots, pools[0]], 0, TOKENS)
    loaded(rope.name, [both, rows, *angles, both, rows], 0, TOKENS)
    loaded(plain.name, [both, rows, v, rows, slots, pools[1]], 0, TOKENS)
    np.testing.assert_array_equal(pools[0], pools[1])


def test_sizes_of_a_page_and_head() -> None:
    sizes = {dtype: KvLayout(dtype, 64).entry_bytes for dtype in STORED}  # type: ignore[arg-type]
    assert sizes == {"float32": 8192, "bfloat16": 4096, "int8": 2048 + 128}
