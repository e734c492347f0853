"""Attention over sequences and their caches, in plain torch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .values import Batch


@dataclass(frozen=True)
class Sight:
    """Which tokens of its sequence a token sees.

    Causal: itself and those before it, else all.  With a window w only those fewer than w tokens
    away; with a chunk c only those of its own c tokens (positions p with the same p // c).
    """

    causal: bool = True
    window: int = 0
    chunk: int = 0

    def hidden(self, first: int, end: int) -> Tensor:
        """Return which keys `[end]` the queries at positions first … end - 1 do not see."""
        queries, keys = torch.arange(first, end).unsqueeze(1), torch.arange(end)
        age = queries - keys
        hidden = age < 0 if self.causal else torch.zeros_like(age, dtype=torch.bool)
        if self.window:
            hidden = hidden | (age.abs() >= self.window)
        if self.chunk:
            hidden = hidden | (queries // self.chunk != keys // self.chunk)
        return hidden


@dataclass(frozen=True)
class Scoring:
    """How scores are made of q · k.

    `sinks` `[heads]` are scores of a key without value; `slopes` `[heads]` are multiplied by the
    key's position minus the query's and added (Press, Smith and Lewis, 2021).
    """

    scale: float
    softcap: float = 0.0
    sinks: Tensor | None = None
    slopes: Tensor | None = None


def ragged_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    batch: Batch,
    *,
    layer: int,
    scoring: Scoring,
    sight: Sight = Sight(),
) -> Tensor:
    """Return `[T, heads, value dim]`; q `[T, heads, dim]`, k `[T, kv_heads, dim]`, v likewise.

    k and v of each sequence's tokens are appended to its cache of `layer`, which the tokens then
    look at.
    """
    outputs = [
        _attend(
            q[start:end], *batch.append(sequence, layer, k[start:end], v[start:end]), scoring, sight
        )
        for sequence, (start, end) in enumerate(zip(batch.starts, batch.starts[1:], strict=False))
    ]
    return torch.cat(outputs)


def _attend(q: Tensor, k: Tensor, v: Tensor, scoring: Scoring, sight: Sight) -> Tensor:
    """Return the attention of the last tokens of one sequence, q, over all of it, k and v."""
    (tokens, heads), end = q.shape[:2], k.shape[0]
    group = heads // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = torch.einsum("thd,nhd->htn", q, k) * scoring.scale
    if scoring.softcap:
        scores = torch.tanh(scores / scoring.softcap) * scoring.softcap
    if scoring.slopes is not None:
        distance = torch.arange(end) - torch.arange(end - tokens, end).unsqueeze(1)
        scores = scores + scoring.slopes.to(scores.dtype).view(heads, 1, 1) * distance
    scores = scores.masked_fill(sight.hidden(end - tokens, end), float("-inf"))
    if scoring.sinks is not None:
        sink = scoring.sinks.to(scores.dtype).view(heads, 1, 1).expand(heads, tokens, 1)
        scores = torch.cat([scores, sink], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., :end]
    return torch.einsum("htn,nhd->thd", weights, v)
