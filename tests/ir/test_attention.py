"""The meaning of `lm.attention`, a token and a head at a time."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from ingot.ir import Attention, Batch

Build = Any
T = 7


@dataclass(frozen=True)
class Case:
    """The attributes that differ, and whether there are sinks and slopes."""

    window: int = 0
    softcap: float = 0.0
    causal: bool = True
    chunk: int = 0
    value_dim: int = 0
    sinks: bool = False
    slopes: bool = False

    def sees(self, query: int, key: int) -> bool:
        """Whether the token at position `query` sees the one at `key`."""
        near = not self.window or abs(query - key) < self.window
        before = key <= query or not self.causal
        return near and before and not (self.chunk and query // self.chunk != key // self.chunk)


CASES = [
    Case(),
    Case(window=3),
    Case(softcap=2.0),
    Case(window=4, softcap=2.0, sinks=True),
    Case(chunk=3, value_dim=3),
    Case(slopes=True, value_dim=7),
    Case(causal=False, slopes=True, sinks=True),
    Case(causal=False, window=2),
]


def attend_slowly(
    q: Tensor, k: Tensor, v: Tensor, case: Case, sinks: Tensor, slopes: Tensor
) -> Tensor:
    """Attention of the last tokens of one sequence, q, over all of it."""
    past, group = len(k) - len(q), q.shape[1] // k.shape[1]
    out = torch.empty(len(q), q.shape[1], v.shape[2])
    for t in range(len(q)):
        seen = [n for n in range(len(k)) if case.sees(past + t, n)]
        for h in range(q.shape[1]):
            scores = k[seen, h // group] @ q[t, h] * 0.3
            if case.softcap:
                scores = case.softcap * torch.tanh(scores / case.softcap)
            if case.slopes:
                scores = scores + slopes[h] * torch.tensor([n - past - t for n in seen])
            weights = scores.exp()
            total = weights.sum() + (sinks[h].exp() if case.sinks else 0.0)
            out[t, h] = weights / total @ v[seen, h // group]
    return out


@pytest.mark.parametrize("case", CASES, ids=str)
def test_attention_reads_and_extends_each_sequence_s_history(build: Build, case: Case) -> None:
    torch.manual_seed(0)
    width = case.value_dim or 5
    vectors = {name: torch.randn(6) for name in ("sinks", "slopes") if getattr(case, name)}

    def make(q: Any, k: Any, v: Any, batch: Any, *weights: Any) -> Attention:
        return Attention(
            *(q, k, v, batch),
            **dict(zip(vectors, weights, strict=True)),
            layer=2,
            heads=6,
            kv_heads=2,
            head_dim=5,
            value_dim=case.value_dim,
            scale=0.3,
            causal=case.causal,
            window=case.window,
            chunk=case.chunk,
            softcap=case.softcap,
        )

    rows = [build.activation(size) for size in (30, 10, 2 * width)]
    op = build(make, *rows, build.batch, *(build.weight(6) for _ in vectors))
    q, k, v = torch.randn(T, 30), torch.randn(T, 10), torch.randn(T, 2 * width)
    past = [(torch.randn(n, 2, 5), torch.randn(n, 2, width)) for n in (0, 4)]
    batch = Batch([0, 2, T], caches=[{}, {2: past[1]}])
    found = op.reference(q, k, v, batch, *vectors.values())
    ends = (vectors.get("sinks", torch.zeros(6)), vectors.get("slopes", torch.zeros(6)))
    for sequence, part in enumerate((slice(0, 2), slice(2, T))):
        full_k = torch.cat([past[sequence][0], k[part].view(-1, 2, 5)])
        full_v = torch.cat([past[sequence][1], v[part].view(-1, 2, width)])
        expected = attend_slowly(q[part].view(-1, 6, 5), full_k, full_v, case, *ends)
        torch.testing.assert_close(found[part], expected.flatten(1))
        torch.testing.assert_close(batch.caches[sequence][2][0], full_k)
        torch.testing.assert_close(batch.caches[sequence][2][1], full_v)
        # The cost counts what is seen.
    seen = sum(case.sees(4 + t, n) for t in range(5) for n in range(9))
    assert op.cost(5, context=4).flops == 2 * seen * 6 * (5 + width)
