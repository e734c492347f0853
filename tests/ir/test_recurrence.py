"""The recurrences of the interpreter compute what transformers' own functions do, in any chunks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.kimi_linear.modeling_kimi_linear import chunk_kimi_delta_attention
from transformers.models.mamba.modeling_mamba import mamba_selective_scan
from transformers.models.mamba2.modeling_mamba2 import causal_conv1d_fn, mamba2_chunk_scan
from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

from ingot.ir import Batch
from ingot.ir.interpreter.recurrence import (
    ragged_conv,
    ragged_delta_rule,
    ragged_selective_scan,
    ragged_ssm_scan,
)

T = 37
Run = Callable[[slice, Batch], Tensor]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def check(expected: Tensor, run: Run) -> None:
    """Hold `run` to `expected` `[T, …]`: in one step, and in steps of 5, 1, 23 and 8 tokens."""
    found = run(slice(0, T), Batch.single(T))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    states: list[dict[tuple[int, str], Tensor]] = [{}]
    parts = [
        run(slice(start, end), Batch([0, end - start], states=states))
        for start, end in ((0, 5), (5, 6), (6, 29), (29, T))
    ]
    torch.testing.assert_close(torch.cat(parts), found, rtol=1e-5, atol=1e-6)


def steps(*sizes: int) -> Tensor:
    return functional.softplus(torch.randn(T, *sizes))


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("with_bias", [False, True])
def test_causal_conv(width: int, with_bias: bool) -> None:
    x, w = torch.randn(T, 9), torch.randn(9, width)
    bias = torch.randn(9) if with_bias else None
    expected = causal_conv1d_fn(x.T[None], w, bias)[0].T
    check(expected, lambda s, batch: ragged_conv(x[s], w, bias, batch, layer=0, name="conv0"))


@pytest.mark.parametrize("groups", [1, 3])
def test_ssm_scan(groups: int) -> None:
    x, dt, a, d = torch.randn(T, 6, 5), steps(6), -2 * torch.rand(6), torch.randn(6)
    b, c = torch.randn(T, groups, 7), torch.randn(T, groups, 7)
    scan = mamba2_chunk_scan(x[None], dt[None], a, b[None], c[None], chunk_size=8, D=d)
    check(
        scan[0],
        lambda s, batch: ragged_ssm_scan(x[s], dt[s], a, b[s], c[s], d, batch, layer=0),
    )


def test_selective_scan() -> None:
    x, dt, a, d = torch.randn(T, 13), steps(13), -2 * torch.rand(13, 7), torch.randn(13)
    b, c = torch.randn(T, 7), torch.randn(T, 7)
    scan = mamba_selective_scan(x.T[None], dt.T[None], a, b.T[None], c.T[None], D=d)
    check(
        scan[0].T,
        lambda s, batch: ragged_selective_scan(x[s], dt[s], a, b[s], c[s], d, batch, layer=0),
    )


@pytest.mark.parametrize("normalize", [False, True])
def test_delta_rule(normalize: bool) -> None:
    q, k, v = (torch.randn(T, heads, size) / 2 for heads, size in ((2, 5), (2, 5), (6, 7)))
    g, beta = -steps(6), torch.rand(T, 6)
    expected, _ = torch_chunk_gated_delta_rule(
        *(one[None] for one in (q, k, v, g, beta)),
        chunk_size=8,
        use_qk_l2norm_in_kernel=normalize,
    )
    check(
        expected[0],
        lambda s, batch: ragged_delta_rule(
            *(one[s] for one in (q, k, v, g, beta)),
            batch,
            layer=0,
            scale=5**-0.5,
            normalize=normalize,
        ),
    )


def test_delta_rule_that_decays_rows() -> None:
    q, k, v, g = torch.randn(T, 3, 5), torch.randn(T, 3, 5), torch.randn(T, 3, 7), -steps(3, 5)
    beta = torch.rand(T, 3)
    expected, _ = chunk_kimi_delta_attention(
        *(one[None] for one in (q, k, v, g, beta)), chunk_size=8, use_qk_l2norm_in_kernel=True
    )
    check(
        expected[0],
        lambda s, batch: ragged_delta_rule(
            *(one[s] for one in (q, k, v, g, beta)),
            batch,
            layer=0,
            scale=5**-0.5,
            normalize=True,
        ),
    )


def test_sequences_of_a_step_do_not_meet() -> None:
    x, w = torch.randn(T, 4), torch.randn(4, 3)
    together = ragged_conv(x, w, None, Batch([0, 20, 21, T]), layer=0, name="conv0")
    alone = [
        ragged_conv(x[start:end], w, None, Batch.single(end - start), layer=0, name="conv0")
        for start, end in ((0, 20), (20, 21), (21, T))
    ]
    torch.testing.assert_close(together, torch.cat(alone))
