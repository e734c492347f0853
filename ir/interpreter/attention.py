"""Causal attention over sequences and their caches, in plain torch."""

import torch
from torch import Tensor

from ingot.ir.interpreter.values import Batch


def ragged_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    batch: Batch,
    *,
    layer: int,
    scale: float,
    window: int = 0,
    softcap: float = 0.0,
    sinks: Tensor | None = None,
) -> Tensor:
    """Return `[T, heads, value dim]`; q `[T, heads, dim]`, k and v `[T, kv_heads, dim]`.

    Tokens of each sequence see those before them, the cached ones included, and k and v are
    appended to the cache of `layer`.  `sinks` `[heads]` are scores of a key without value.
    """
    outputs = [
        _attend(
            q[start:end],
            *batch.append(sequence, layer, k[start:end], v[start:end]),
            scale=scale,
            window=window,
            softcap=softcap,
            sinks=sinks,
        )
        for sequence, (start, end) in enumerate(zip(batch.starts, batch.starts[1:], strict=False))
    ]
    return torch.cat(outputs)


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    window: int,
    softcap: float,
    sinks: Tensor | None,
) -> Tensor:
    """Return the attention of the last tokens of one sequence, q, over all of it, k and v."""
    tokens, heads = q.shape[:2]
    group = heads // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = torch.einsum("thd,nhd->htn", q, k) * scale
    if softcap:
        scores = torch.tanh(scores / softcap) * softcap
    # age[t, n]: how many tokens before token t the cached token n stands.
    age = torch.arange(k.shape[0] - tokens, k.shape[0]).unsqueeze(1) - torch.arange(k.shape[0])
    hidden = (age < 0) | (age >= window) if window else age < 0
    scores = scores.masked_fill(hidden, float("-inf"))
    if sinks is not None:
        sink = sinks.to(scores.dtype).view(heads, 1, 1).expand(heads, tokens, 1)
        scores = torch.cat([scores, sink], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., : k.shape[0]]
    return torch.einsum("htn,nhd->thd", weights, v)
