"""Attention against float64 mathematics, and the same bits for a token however it is computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np
import pytest
import torch

from ingot.ir import round_activations
from ingot.targets.cpu.kernels.attention import attention_kernel, can_round
from ingot.targets.cpu.kernels.attention_shape import AttentionShape
from ingot.targets.cpu.kernels.attention_softmax import query_factor
from ingot.targets.cpu.kernels.kv_write import kv_write_kernel
from ingot.targets.cpu.kernels.rounding import float_row_bytes, rounded_row_bytes
from ingot.targets.cpu.levels import LEVELS

Jit = Callable[..., Any]
Load = Callable[[AttentionShape, Any], Any]
PAGES = 40
VECTORS = ("sinks", "slopes")


@dataclass(frozen=True)
class Sequences:
    """Some sequences in a cache: their queries, keys and values, and which pages hold them."""

    shape: AttentionShape
    lengths: tuple[int, ...]
    q: list[np.ndarray]
    k: list[np.ndarray]
    v: list[np.ndarray]
    vectors: tuple[np.ndarray, ...]
    tables: np.ndarray
    pool: np.ndarray


def _normal(random: np.random.Generator, head_dim: int, tokens: int, heads: int) -> np.ndarray:
    return random.standard_normal((tokens, heads * head_dim)).astype(np.float32)


def sequences(shape: AttentionShape, lengths: Sequence[int], loaded: Any) -> Sequences:
    """Fill a cache through the kernel that writes it; all that is not written is NaN or 0xFF."""
    random = np.random.default_rng(shape.head_dim + shape.heads)
    make = partial(_normal, random)
    q = [make(shape.head_dim, n, shape.heads) * 2 for n in lengths]
    sizes = (shape.head_dim, shape.value_features)
    k, v = ([make(size, n, shape.kv_heads) for n in lengths] for size in sizes)
    vectors = tuple(
        random.random(shape.heads).astype(np.float32) for name in VECTORS if getattr(shape, name)
    )
    pages = random.permutation(PAGES).astype(np.int32)
    tables = np.zeros((len(lengths), 12), np.int32)
    used = 0
    for number, length in enumerate(lengths):
        count = -(-length // 16)
        tables[number, :count] = pages[used : used + count]
        used += count
    pool = np.full((PAGES, shape.kv_heads, shape.layout.entry_bytes), 0xFF, np.uint8)
    write = kv_write_kernel(shape.layout, shape.kv_heads)
    for number, length in enumerate(lengths):
        places = np.arange(length)
        slots = (tables[number, places // 16] * 16 + places % 16).astype(np.int32)
        keys, values = k[number], v[number]
        places = [keys, keys.strides[0], values, values.strides[0], slots, pool]
        loaded(write.name, places, 0, length)
    return Sequences(shape, tuple(lengths), q, k, v, vectors, tables, pool)


def tasks_of(
    chunks: Sequence[tuple[int, int, int]], stride: int, lengths: Sequence[int], size: int
) -> np.ndarray:
    """Cut chunks (sequence, first position, tokens) that stand one after another into tasks."""
    tasks, token = [], 0
    for sequence, position, count in chunks:
        for done in range(0, count, size):
            tokens = min(size, count - done)
            record = (token + done, tokens, position + done, sequence * stride)
            tasks.append((*record, lengths[sequence], 0, 0, 0))
        token += count
    return np.array(tasks, np.int32)


def attend(
    loaded: Any,
    kernel: Any,
    data: Sequences,
    chunks: Sequence[tuple[int, int, int]],
    size: int = 8,
) -> np.ndarray:
    """Run a step over chunks (sequence, first position, tokens); return its rows."""
    shape = data.shape
    q = np.concatenate([data.q[s][begin : begin + count] for s, begin, count in chunks])
    width = shape.heads * shape.value_features
    tasks = tasks_of(chunks, data.tables.shape[1], data.lengths, size)
    rounded = shape.sink == "rounded"
    row = rounded_row_bytes(width) if rounded else float_row_bytes(width)
    y = np.full((len(q) + 1, row), 0x77, np.uint8)
    slots = [q, q.strides[0], data.pool, tasks, data.tables, *data.vectors, y, row]
    units = len(tasks) * shape.kv_heads
    for begin, end in ((0, units // 2), (units // 2, units)):
        loaded(kernel.name, slots, begin, end)
    assert (y[-1] == 0x77).all()
    return y[:-1] if rounded else y[:-1].view(np.float32)[:, :width]


def stored(x: np.ndarray, shape: AttentionShape) -> np.ndarray:
    """Return what the cache holds of `[T, heads · head_dim]`, in float64 by head."""
    x = x.reshape(len(x), shape.kv_heads, -1)
    if shape.dtype == "bfloat16":
        x = x.astype(ml_dtypes.bfloat16)
    if shape.dtype == "int8":
        scale = np.abs(x).max(-1, keepdims=True) / np.float32(127)
        return np.rint(x / scale).astype(np.float64) * scale
    return x.astype(np.float64)


def queries(data: Sequences, number: int) -> np.ndarray:
    """Return the queries of a sequence in float64, rounded as those of a bfloat16 cache are."""
    q, factor = data.q[number], np.float32(query_factor(data.shape))
    if data.shape.dtype == "bfloat16":
        q = (q * factor).astype(ml_dtypes.bfloat16).astype(np.float64) / np.float64(factor)
    return q.astype(np.float64).reshape(data.lengths[number], data.shape.heads, -1)


def exact(data: Sequences, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the attention of all tokens of a sequence, in float64, and that to |v|."""
    shape, length = data.shape, data.lengths[number]
    q = queries(data, number)
    k, v = stored(data.k[number], shape), stored(data.v[number], shape)
    k, v = (np.repeat(x, shape.group, axis=1) for x in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) * shape.scale
    if shape.softcap:
        scores = shape.softcap * np.tanh(scores / shape.softcap)
    vectors = iter(data.vectors)
    sinks = next(vectors)[:, None, None] if shape.sinks else np.full((shape.heads, 1, 1), -np.inf)
    query, key = np.arange(length)[:, None], np.arange(length)
    if shape.slopes:
        scores = scores + next(vectors)[:, None, None] * (key - query)
    scores = np.where(hidden(shape, query, key), -np.inf, scores)
    largest = np.maximum(scores.max(-1, keepdims=True), sinks)
    weights = np.exp(scores - largest)
    weights /= weights.sum(-1, keepdims=True) + np.exp(sinks - largest)
    results = (np.einsum("hqk,khd->qhd", weights, x).reshape(length, -1) for x in (v, np.abs(v)))
    return next(results), next(results)


def hidden(shape: AttentionShape, query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return which keys a query does not see, by their positions."""
    result = (key > query) & shape.causal
    if shape.window:
        result = result | (np.abs(query - key) >= shape.window)
    if shape.chunk:
        result = result | (query // shape.chunk != key // shape.chunk)
    return result


def shape_of(heads: int, kv_heads: int, head_dim: int, dtype: Any, **more: Any) -> AttentionShape:
    """Return a shape with the usual scale."""
    return AttentionShape(heads, kv_heads, head_dim, dtype, head_dim**-0.5, **more)


SHAPES = [
    shape_of(4, 4, 8, "float32"),
    shape_of(6, 2, 12, "float32", window=20),
    shape_of(14, 2, 64, "float32"),
    shape_of(8, 2, 40, "bfloat16", softcap=5.0),
    shape_of(16, 2, 30, "bfloat16", window=7),
    shape_of(4, 2, 128, "int8"),
    shape_of(5, 1, 10, "int8", window=33, softcap=9.0),
    shape_of(64, 1, 256, "float32"),
    shape_of(2, 2, 192, "float32", value_dim=128, chunk=24),
    shape_of(4, 2, 20, "float32", value_dim=36, sinks=True, window=20),
    shape_of(3, 1, 72, "bfloat16", value_dim=40, slopes=True, chunk=50, window=30),
    shape_of(4, 2, 20, "int8", value_dim=12, sinks=True, slopes=True, softcap=4.0),
    shape_of(4, 2, 16, "float32", causal=False, slopes=True),
    shape_of(4, 1, 16, "int8", causal=False, window=9, sinks=True),
]


def identity(shape: AttentionShape) -> str:
    """Name a shape in test output."""
    return attention_kernel(shape).name


@pytest.fixture(scope="module")
def load(jit: Jit) -> Load:
    """Return a function that loads the kernels of a shape and level, compiled once."""

    @cache
    def compiled(shape: AttentionShape, level: Any) -> Any:
        write = kv_write_kernel(shape.layout, shape.kv_heads)
        return jit([attention_kernel(shape), write], level)

    return compiled


@pytest.mark.parametrize("shape", SHAPES, ids=identity)
def test_prefill_matches_mathematics(shape: AttentionShape, load: Load, level: Any) -> None:
    kernel, loaded = attention_kernel(shape), load(shape, level)
    data = sequences(shape, [37, 150, 1], loaded)
    chunks = [(number, 0, length) for number, length in enumerate(data.lengths)]
    result = attend(loaded, kernel, data, chunks)
    expected, magnitude = map(np.concatenate, zip(*[exact(data, n) for n in range(3)], strict=True))
    # Rounded probabilities are off by a part in 2^9, and so may their sum be.
    rounding = 2.0**-8 if shape.dtype == "bfloat16" else 0.0
    assert (
        np.abs(result - expected) <= 1e-5 + 1e-5 * np.abs(expected) + rounding * magnitude
    ).all()


@pytest.mark.parametrize("shape", SHAPES, ids=identity)
def test_a_token_has_the_same_bits_however_it_is_computed(
    shape: AttentionShape, load: Load, level: Any
) -> None:
    kernel, loaded = attention_kernel(shape), load(shape, level)
    data = sequences(shape, [37, 140], loaded)
    whole = attend(loaded, kernel, data, [(0, 0, 37), (1, 0, 140)])
    chunked = attend(loaded, kernel, data, [(0, 0, 37), (1, 0, 11)])
    rest = attend(loaded, kernel, data, [(1, 11, 129)], size=5)
    np.testing.assert_array_equal(bits(whole), bits(np.concatenate([chunked, rest])))
    places = [0, 15, 16, 33, 63, 64, 81, 128, 139]
    decoded = [attend(loaded, kernel, data, [(1, at, 1)]) for at in places]
    np.testing.assert_array_equal(
        bits(np.concatenate(decoded)), bits(whole[[37 + place for place in places]])
    )


def bits(x: np.ndarray) -> np.ndarray:
    """Return floats as integers, so that -0 and NaN compare by their bits."""
    return np.ascontiguousarray(x).view(np.uint32)


@pytest.mark.parametrize("shape", [*SHAPES[2:5], *SHAPES[8:]], ids=identity)
def test_levels_with_fma_agree_bit_for_bit(shape: AttentionShape, load: Load) -> None:
    features = llvm.get_host_cpu_features()
    levels = [level for level in LEVELS if "fma" in level.features]
    levels = [level for level in levels if all(features.get(f) for f in level.features)]
    kernel = attention_kernel(shape)
    results = []
    for level in levels:
        loaded = load(shape, level)
        data = sequences(shape, [90], loaded)
        results.append(bits(attend(loaded, kernel, data, [(0, 0, 90)])))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_rounded_rows_are_the_rounding_of_float_rows(jit: Jit, level: Any) -> None:
    plain = shape_of(6, 2, 64, "float32")
    wanted = shape_of(6, 2, 64, "float32", sink="rounded")
    kernels = [attention_kernel(plain), attention_kernel(wanted)]
    loaded = jit([*kernels, kv_write_kernel(plain.layout, 2)], level)
    data = sequences(plain, [45], loaded)
    floats = attend(loaded, kernels[0], data, [(0, 0, 45)])
    other = Sequences(wanted, data.lengths, data.q, data.k, data.v, (), data.tables, data.pool)
    rounded = attend(loaded, kernels[1], other, [(0, 0, 45)])
    expected = round_activations(torch.from_numpy(np.ascontiguousarray(floats)))
    groups = rounded[:, : 12 * 48].reshape(45, 12, 48)
    integers = groups[:, :, :32].copy().view(np.int8).reshape(45, -1)
    np.testing.assert_array_equal(integers, expected.values.numpy())
    scales = groups[:, :, 32:36].copy().view(np.float32)[..., 0]
    np.testing.assert_array_equal(scales, expected.scales.numpy())


def test_heads_that_do_not_fill_groups_cannot_be_rounded() -> None:
    assert can_round(64) and can_round(96) and not can_round(40)
    with pytest.raises(AssertionError):
        attention_kernel(shape_of(4, 4, 40, "float32", sink="rounded"))


def test_heads_that_do_not_fit_into_scratch_have_no_kernel() -> None:
    assert shape_of(128, 1, 256, "float32").pass_tokens == 0
    with pytest.raises(AssertionError, match="128 heads of 256 features do not fit"):
        attention_kernel(shape_of(128, 1, 256, "float32"))
