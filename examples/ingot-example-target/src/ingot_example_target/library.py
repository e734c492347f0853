"""What the emitted programs call: the operations of `lm`, in numpy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "attention",
    "gelu_tanh",
    "linear",
    "relu",
    "relu2",
    "rms_norm",
    "rope",
    "sigmoid",
    "silu",
    "tanh",
]

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]


@dataclass
class Cache:
    """The state of a step.

    `rows` are the tokens whose logits are wanted, `starts` `[S + 1]` where each sequence's tokens
    start, `slots[s]` the place in the pools of every token of sequence s up to its last.
    `pools[layer]` are keys and values `[slots, kv_heads, head_dim]`.
    """

    rows: Integers
    starts: Integers
    slots: list[NDArray[np.int64]]
    pools: dict[int, tuple[Floats, Floats]]
    capacity: int


def linear(x: Floats, w: Floats, bias: Floats | None) -> Floats:
    """Return `x @ w.T + bias`."""
    y: Floats = x @ w.T
    return y if bias is None else y + bias


def rms_norm(x: Floats, w: Floats, eps: float, heads: int) -> Floats:
    """Return the RMS norm of each head times w."""
    parts = x.reshape(len(x), heads, -1)
    scale = np.float32(1) / np.sqrt(np.square(parts).mean(-1, keepdims=True) + np.float32(eps))
    y: Floats = (parts * scale * w).reshape(x.shape)
    return y


def rope(
    x: Floats,
    positions: Integers,
    inv_freq: Floats,
    *,
    heads: int,
    scale: float,
    interleaved: bool,
    offset: int,
) -> Floats:
    """Return x with pairs of features of every head turned by `position * inv_freq`."""
    angles = positions[:, None].astype(np.float32) * inv_freq
    cos, sin = (np.float32(scale) * f(angles)[:, None] for f in (np.cos, np.sin))
    y = x.reshape(len(x), heads, -1).copy()
    half = len(inv_freq)
    turned = y[..., offset : offset + 2 * half]
    pairs = turned.reshape(*turned.shape[:-1], half, 2)
    first, second = turned[..., :half].copy(), turned[..., half:].copy()
    if interleaved:
        first, second = pairs[..., 0].copy(), pairs[..., 1].copy()
    results = first * cos - second * sin, second * cos + first * sin
    if interleaved:
        turned[:] = np.stack(results, axis=-1).reshape(turned.shape)
    else:
        turned[:] = np.concatenate(results, axis=-1)
    return y.reshape(x.shape)


def attention(
    q: Floats,
    k: Floats,
    v: Floats,
    cache: Cache,
    *,
    layer: int,
    heads: int,
    kv_heads: int,
    scale: float,
    window: int,
    softcap: float,
) -> Floats:
    """Append k and v to the pools, and attend from every token to those before it."""
    keys, values = (x.reshape(len(x), kv_heads, -1) for x in (k, v))
    queries = q.reshape(len(q), kv_heads, heads // kv_heads, -1)
    if layer not in cache.pools:
        pools = (np.zeros((cache.capacity, *x.shape[1:]), np.float32) for x in (keys, values))
        cache.pools[layer] = (next(pools), next(pools))
    pool_k, pool_v = cache.pools[layer]
    results = []
    for slots, start, end in zip(cache.slots, cache.starts, cache.starts[1:], strict=False):
        places = np.arange(len(slots))
        here = places[len(slots) - (end - start) :]
        pool_k[slots[here]], pool_v[slots[here]] = keys[start:end], values[start:end]
        scores = np.einsum("thgd,nhd->hgtn", queries[start:end], pool_k[slots]) * np.float32(scale)
        if softcap:
            scores = np.tanh(scores / np.float32(softcap)) * np.float32(softcap)
        age = here[:, None] - places
        scores[..., (age < 0) | (age >= (window or len(slots)))] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = np.einsum("hgtn,nhd->thgd", weights, pool_v[slots])
        results.append(mixed.reshape(end - start, -1))
    return np.concatenate(results)


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + e^-x)."""
    return np.float32(1) / (np.float32(1) + np.exp(-x))


def silu(x: Floats) -> Floats:
    """Return x / (1 + e^-x)."""
    return x * sigmoid(x)


def gelu_tanh(x: Floats) -> Floats:
    """Return GELU by its tanh form (Hendrycks and Gimpel, 2016)."""
    inner = np.float32(0.7978845608028654) * (x + np.float32(0.044715) * x**3)
    y: Floats = np.float32(0.5) * x * (1 + np.tanh(inner))
    return y


def relu(x: Floats) -> Floats:
    """Return max(x, 0)."""
    return np.maximum(x, np.float32(0))


def relu2(x: Floats) -> Floats:
    """Return max(x, 0)²."""
    return np.square(relu(x))


def tanh(x: Floats) -> Floats:
    """Return tanh x."""
    y: Floats = np.tanh(x)
    return y
