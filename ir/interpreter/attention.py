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


@dataclass(frozen=True)
class Share:
    """Which tokens of a sequence a device keeps: page p of `page_tokens` where p % size = place."""

    place: int
    size: int
    page_tokens: int

    def keeps(self, first: int, end: int) -> Tensor:
        """Return whether each of the tokens at positions first … end - 1 is kept."""
        return torch.arange(first, end) // self.page_tokens % self.size == self.place


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


def ragged_partial_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    batch: Batch,
    *,
    layer: int,
    scoring: Scoring,
    sight: Sight,
    share: Share,
) -> tuple[Tensor, Tensor]:
    """Return attention over the tokens that `share` keeps, and the log of the sums of exp(score).

    Shapes as `ragged_attention`, the second `[T, heads]`: -inf where a token sees none of those
    kept, whose result is 0.  Caches have a row for every token, NaN for those that are not kept.
    """
    outputs, sums = [], []
    for sequence, (start, end) in enumerate(batch.spans()):
        past = batch.cached(sequence, layer)
        gone = ~share.keeps(past, past + end - start).view(-1, 1, 1)
        own_k, own_v = (one[start:end].masked_fill(gone, torch.nan) for one in (k, v))
        all_k, all_v = batch.append(sequence, layer, own_k, own_v)
        places = torch.where(share.keeps(0, len(all_k)))[0]
        y, lse = _attend_to(
            q[start:end], all_k[places], all_v[places], places, len(all_k), scoring, sight
        )
        outputs.append(y)
        sums.append(lse)
    return torch.cat(outputs), torch.cat(sums)


def _attend(q: Tensor, k: Tensor, v: Tensor, scoring: Scoring, sight: Sight) -> Tensor:
    """Return the attention of the last tokens of one sequence, q, over all of it, k and v."""
    heads, end = q.shape[1], k.shape[0]
    v = v.repeat_interleave(heads // k.shape[1], dim=1)
    scores = _scores(q, k, torch.arange(end), end, scoring, sight)
    if scoring.sinks is not None:
        scores = torch.cat([scores, _sinks(scoring.sinks, scores)], dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., :end]
    return torch.einsum("htn,nhd->thd", weights, v)


def _attend_to(
    q: Tensor, k: Tensor, v: Tensor, places: Tensor, end: int, scoring: Scoring, sight: Sight
) -> tuple[Tensor, Tensor]:
    """Return the attention over the keys at `places`, and log-sum-exp `[tokens, heads]`."""
    v = v.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = _scores(q, k, places, end, scoring, sight)
    if scoring.sinks is not None:
        scores = torch.cat([scores, _sinks(scoring.sinks, scores)], dim=-1)
    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - lse.nan_to_num(neginf=0.0).unsqueeze(-1))[..., : len(places)]
    return torch.einsum("htn,nhd->thd", weights, v), lse.T


def _scores(
    q: Tensor, k: Tensor, places: Tensor, end: int, scoring: Scoring, sight: Sight
) -> Tensor:
    """Return the scores `[heads, tokens, keys]` of the last tokens before `end`.

    The keys are those of the tokens at `places`; what a token does not see has -inf.
    """
    tokens, heads = q.shape[:2]
    k = k.repeat_interleave(heads // k.shape[1], dim=1)
    scores = torch.einsum("thd,nhd->htn", q, k) * scoring.scale
    if scoring.softcap:
        scores = torch.tanh(scores / scoring.softcap) * scoring.softcap
    if scoring.slopes is not None:
        distance = places - torch.arange(end - tokens, end).unsqueeze(1)
        scores = scores + scoring.slopes.to(scores.dtype).view(heads, 1, 1) * distance
    return scores.masked_fill(sight.hidden(end - tokens, end)[:, places], float("-inf"))


def _sinks(sinks: Tensor, scores: Tensor) -> Tensor:
    heads, tokens = scores.shape[:2]
    return sinks.to(scores.dtype).view(heads, 1, 1).expand(heads, tokens, 1)
