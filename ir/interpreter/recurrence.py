"""Convolutions and scans along sequences, token by token, in plain torch.

Each takes the tokens of a ragged batch, goes on from the state that the batch holds for a sequence
(zeros if none), and leaves the new state there.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .values import Batch

L2_EPSILON = 1e-6
"""Added to the squared length of a vector that is brought to length 1."""

Step = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""From a state and the index of a token in the step to the next state and the token's result."""


def ragged_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, batch: Batch, *, layer: int, name: str
) -> Tensor:
    """Return the causal convolution of every channel: x `[T, C]`, weight `[C, width]`.

    `y[t] = sum_j weight[:, j] * x[t - width + 1 + j] + bias`; the state is the last width - 1
    inputs, `[width - 1, C]`.
    """
    width = weight.shape[1]
    outputs = []
    for sequence, (start, end) in enumerate(batch.spans()):
        past = batch.state(sequence, layer, name, (width - 1, x.shape[1]), x)
        inputs = torch.cat([past, x[start:end]])
        batch.keep(sequence, layer, name, inputs[len(inputs) - (width - 1) :])
        windows = inputs.T.unsqueeze(0)
        outputs.append(functional.conv1d(windows, weight.unsqueeze(1), bias, groups=x.shape[1]))
    return torch.cat(outputs, dim=-1).squeeze(0).T


def ragged_ssm_scan(
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor | None,
    batch: Batch,
    *,
    layer: int,
) -> Tensor:
    """Return the scan of Mamba-2 (Dao and Gu, 2024), `[T, H, P]`.

    x `[T, H, P]`, dt `[T, H]`, a and d `[H]`, b and c `[T, G, N]`; head h reads group
    `h // (H / G)`.  State S `[H, P, N]`: `S = exp(dt a) S + dt x b^T`, `y = S c + d x`.
    """
    heads = x.shape[1]
    b, c = (part.repeat_interleave(heads // part.shape[1], dim=1) for part in (b, c))
    decay = torch.exp(dt * a)

    def step(state: Tensor, t: int) -> tuple[Tensor, Tensor]:
        added = (dt[t].unsqueeze(-1) * x[t]).unsqueeze(-1) * b[t].unsqueeze(1)
        state = state * decay[t].view(-1, 1, 1) + added
        return state, (state * c[t].unsqueeze(1)).sum(-1)

    y = _scan(step, (heads, x.shape[2], b.shape[2]), x, batch, layer, "ssm")
    return y if d is None else y + d.unsqueeze(-1) * x


def ragged_selective_scan(
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor | None,
    batch: Batch,
    *,
    layer: int,
) -> Tensor:
    """Return the scan of Mamba (Gu and Dao, 2023), `[T, C]`.

    x and dt `[T, C]`, a `[C, N]`, b and c `[T, N]`, d `[C]`.  State S `[C, N]`:
    `S = exp(dt a) S + dt x b^T`, `y = S c + d x`.
    """

    def step(state: Tensor, t: int) -> tuple[Tensor, Tensor]:
        width = dt[t].unsqueeze(-1)
        state = torch.exp(width * a) * state + width * x[t].unsqueeze(-1) * b[t]
        return state, state @ c[t]

    y = _scan(step, tuple(a.shape), x, batch, layer, "selective")
    return y if d is None else y + d * x


def ragged_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    batch: Batch,
    *,
    layer: int,
    scale: float,
    normalize: bool,
) -> Tensor:
    """Return the gated delta rule (Yang et al., "Gated Delta Networks", 2024), `[T, HV, DV]`.

    q and k `[T, HK, DK]`, of which each head serves HV / HK heads of v `[T, HV, DV]`; beta
    `[T, HV]`; g, the logarithm of the decay, `[T, HV]`, or `[T, HV, DK]` for each row.  With
    `normalize`, q and k are first brought to length 1.  State S `[HV, DK, DV]`:
    `S = exp(g) S; S = S + k (beta (v - k S))^T`, `y = scale q S`.
    """
    heads = v.shape[1]
    if normalize:
        q, k = (_unit(one) for one in (q, k))
    q, k = (one.repeat_interleave(heads // one.shape[1], dim=1) for one in (q * scale, k))
    decay = torch.exp(g)
    if decay.dim() == 2:
        decay = decay.unsqueeze(-1)

    def step(state: Tensor, t: int) -> tuple[Tensor, Tensor]:
        state = state * decay[t].unsqueeze(-1)
        known = torch.einsum("hk,hkv->hv", k[t], state)
        delta = (v[t] - known) * beta[t].unsqueeze(-1)
        state = state + k[t].unsqueeze(-1) * delta.unsqueeze(1)
        return state, torch.einsum("hk,hkv->hv", q[t], state)

    return _scan(step, (heads, q.shape[2], v.shape[2]), v, batch, layer, "delta")


def _unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + L2_EPSILON)


def _scan(
    step: Step, shape: tuple[int, ...], like: Tensor, batch: Batch, layer: int, name: str
) -> Tensor:
    """Run `step` over every token of every sequence, on from its state, and stack the results."""
    results = []
    for sequence, (start, end) in enumerate(batch.spans()):
        state = batch.state(sequence, layer, name, shape, like)
        for token in range(start, end):
            state, result = step(state, token)
            results.append(result)
        batch.keep(sequence, layer, name, state)
    return torch.stack(results)
