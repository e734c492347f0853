"""The compiled search chooses what torch chooses, to the bit."""

import pytest
import torch

from ingot.ir import Encoding, quantize, rounding_search
from ingot.ir.rounding_search import best_of_grid, can_search, fit_sums


def extremes(rows: int, columns: int) -> torch.Tensor:
    """Weights of all magnitudes, with groups that are constant, zero, one-sided or denormal."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(rows, columns, generator=generator)
    weights *= 10.0 ** torch.randint(-12, 12, (rows, 1), generator=generator)
    weights[1], weights[2], weights[3] = 0, 0.5, -3
    weights[4], weights[5] = weights[4].abs(), -weights[5].abs()
    weights[6] *= 1e-38
    weights[7, ::7] = 3e38
    return weights


@pytest.mark.parametrize("name", ["int4-g32", "int4-g64", "int4-g128", "int4-g32-sym"])
def test_a_tensor_is_quantised_to_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoding, weights = Encoding.parse(name), extremes(512, 512)
    assert can_search(encoding.group, 512 * 512 // encoding.group)
    searched = quantize(weights, encoding)
    monkeypatch.setattr(rounding_search, "LEAST_GROUPS", 1 << 60)
    expected = quantize(weights, encoding)
    assert torch.equal(searched.values, expected.values)
    assert torch.equal(searched.scales, expected.scales)
    if expected.offsets is not None and searched.offsets is not None:
        assert torch.equal(searched.offsets, expected.offsets)


@pytest.mark.parametrize("groups", [16, 17, 31, 32, 45])
def test_groups_beyond_whole_lanes_are_looked_at_too(groups: int) -> None:
    x = torch.randn(32, groups, generator=torch.Generator().manual_seed(groups))
    scales = torch.rand(5, groups, generator=torch.Generator().manual_seed(1)) / 4
    offsets = torch.full((5, groups), 8.0)
    codes = (x / scales[:, None]).add(8).round().clamp(0, 15)
    error = (((codes - 8) * scales[:, None] - x).square() * x.abs()).sum(1)
    assert torch.equal(best_of_grid(x, scales, offsets), error.argmin(0))
    above, below = fit_sums(x, scales[0].contiguous(), offsets[0].contiguous())
    weighted = (codes[0] - 8) * x.abs()
    torch.testing.assert_close(above, (weighted * x).sum(0))
    torch.testing.assert_close(below, (weighted * (codes[0] - 8)).sum(0))


def test_the_first_among_equals_is_chosen() -> None:
    x, scales = torch.ones(32, 16), torch.ones(3, 16)
    assert not best_of_grid(x, scales, torch.zeros(3, 16)).any()


def test_groups_that_torch_adds_otherwise_are_not_searched() -> None:
    assert not can_search(24, 1 << 20) and not can_search(256, 1 << 20)
    assert not can_search(32, 100)
