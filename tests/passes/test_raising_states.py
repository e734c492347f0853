"""What surrounds convolutions and scans in models: features before tokens, folded heads, norms."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ingot.models.tracing.seams.state import causal_conv, delta_rule, selective_scan, ssm_scan
from ingot.passes import Sample, parse_pipeline, verifying

from .tracing import VOCABULARY, traced

F = 24
SAMPLE = Sample(
    torch.randint(VOCABULARY, (9,), generator=torch.Generator().manual_seed(5)), (0, 4, 9)
)


class Convolution(nn.Module):
    """As LFM2: gates and a convolution on features that stand before the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(F, 3 * F)
        self.conv = nn.Conv1d(F, F, 3, groups=F)
        self.outer = nn.Linear(F, 5)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        b, c, y = self.inner(x).transpose(-1, -2).chunk(3, dim=-2)
        weight = self.conv.weight.squeeze(1)
        mixed = causal_conv((b * y).transpose(1, 2), weight, self.conv.bias, 0, 0, "none")
        result = self.outer((c * mixed.transpose(1, 2)).transpose(-1, -2))
        assert isinstance(result, Tensor)
        return result


class Scan(nn.Module):
    """As Mamba-2: heads with common b and c, and a norm of groups behind a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(F, F + F + 2 * 2 * 5 + 4)
        self.a_log, self.d = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(4))
        self.dt_bias, self.w = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(F))
        self.outer = nn.Linear(F, 5)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        gate, y, b, c, dt = self.inner(x).split([F, F, 10, 10, 4], -1)
        steps = functional.softplus(dt + self.dt_bias)
        heads = y.view(1, -1, 4, F // 4)
        groups = (one.view(1, -1, 2, 5) for one in (b, c))
        scanned = ssm_scan(heads, steps, -torch.exp(self.a_log), *groups, self.d, 0)
        gated = (scanned.reshape(1, -1, F) * functional.silu(gate)).view(1, -1, 2, F // 2)
        normed = gated * torch.rsqrt(gated.pow(2).mean(-1, keepdim=True) + 1e-5)
        result = self.outer(self.w * normed.view(1, -1, F))
        assert isinstance(result, Tensor)
        return result


class Selective(nn.Module):
    """As Mamba: the step sizes are a weight times features that stand before the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.dt = nn.Linear(F, 3 + 4 + 4), nn.Linear(3, F)
        self.a_log, self.d = nn.Parameter(torch.rand(F, 4)), nn.Parameter(torch.rand(F))
        self.outer = nn.Linear(F, 5)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        dt, b, c = self.inner(x).split([3, 4, 4], -1)
        steps = (self.dt.weight @ dt.transpose(1, 2)).transpose(1, 2) + self.dt.bias
        rates = -torch.exp(self.a_log)
        y = selective_scan(x, functional.softplus(steps), rates, b, c, self.d, 0)
        result = self.outer(y)
        assert isinstance(result, Tensor)
        return result


class Delta(nn.Module):
    """As gated delta networks: every head alone is normed, folded into the tokens, and gated."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(F, 2 * 10 + 2 * F + 2 * 4)
        self.a_log, self.w = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(F // 4))
        self.outer = nn.Linear(F, 5)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        q, k, v, gate, a, b = self.inner(x).split([10, 10, F, F, 4, 4], -1)
        g = -torch.exp(self.a_log) * functional.softplus(a)
        q, k = (one.view(1, -1, 2, 5) for one in (q, k))
        y = delta_rule(q, k, v.view(1, -1, 4, F // 4), g, b.sigmoid(), 0, True)
        folded, gates = y.reshape(-1, F // 4), gate.reshape(-1, F // 4)
        normed = folded * torch.rsqrt(folded.pow(2).mean(-1, keepdim=True) + 1e-6)
        result = self.outer((self.w * normed * functional.silu(gates)).reshape(1, -1, F))
        assert isinstance(result, Tensor)
        return result


@pytest.mark.parametrize(
    "layer, op",
    [
        (Convolution, "lm.causal_conv"),
        (Scan, "lm.ssm_scan"),
        (Selective, "lm.selective_scan"),
        (Delta, "lm.delta_rule"),
    ],
)
def test_all_of_it_is_raised(layer: type[nn.Module], op: str) -> None:
    torch.manual_seed(0)
    module, weights = traced(layer(), F)
    parse_pipeline("raise,canonicalize,select-rows,outline").run(module, verifying(weights, SAMPLE))
    text = module.text()
    assert op in text and "torch." not in text


def test_only_what_follows_a_scan_takes_selected_rows() -> None:
    module, _ = traced(Selective(), F)
    parse_pipeline("raise,canonicalize,select-rows").run(module)
    text = module.text()
    scan, select, head = (
        text.index(name) for name in ("lm.selective_scan", "lm.select_rows", "return")
    )
    assert scan < select < head and text.count("lm.select_rows") == 1
