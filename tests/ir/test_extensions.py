"""Operations, encodings and their packings that other distributions own."""

import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest
import torch

from ingot.errors import CheckpointError, ExtensionError, UsageError
from ingot.ir import CustomEncoding, Encoding, all_operations, quantize
from ingot.ir.encoding import custom_encoding
from ingot.targets.cpu.packing import Packing, packing_for, registered_packing


@dataclass(frozen=True)
class Signs(CustomEncoding):
    """The sign of each weight times the mean magnitude of its group, with the mean beside it."""

    def encode(
        self, groups: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        means = groups.mean(-1)
        spread = (groups - means.unsqueeze(-1)).abs().mean(-1)
        codes = (groups >= means.unsqueeze(-1)).to(torch.uint8)
        return codes, spread, means

    def decode(
        self, codes: torch.Tensor, scales: torch.Tensor, offsets: torch.Tensor | None
    ) -> torch.Tensor:
        assert offsets is not None
        return (2 * codes.to(scales.dtype) - 1) * scales + offsets


SIGNS = Signs(bits=1, group=32, scale_bits=32, name="acme-signs")


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of another distribution, that holds what a test puts there."""
    module = ModuleType("acme")
    monkeypatch.setitem(sys.modules, "acme", module)
    return module


@pytest.mark.parametrize("shape", [(3, 64), (3, 40), (2, 5, 32), (5000, 70), (4, 8)])
def test_a_custom_encoding_sees_whole_groups(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = quantize(weight, SIGNS).dequantize()
    for start in range(0, shape[-1], 32):
        part = weight[..., start : start + 32]
        mean = part.mean(-1, keepdim=True)
        spread = (part - mean).abs().mean(-1, keepdim=True)
        expected = torch.where(part >= mean, spread, -spread) + mean
        assert torch.allclose(found[..., start : start + 32], expected, atol=1e-6)


def test_a_custom_encoding_refuses_what_is_not_finite() -> None:
    with pytest.raises(CheckpointError, match="not finite"):
        quantize(torch.tensor([[1.0, torch.inf]]), SIGNS)


def test_an_encoding_is_found_by_its_name(acme: Any) -> None:
    acme.SIGNS = SIGNS
    entry = EntryPoint("acme-signs", "acme:SIGNS", "ingot.encodings")
    assert custom_encoding("acme-signs", [entry]) is SIGNS
    assert custom_encoding("acme-other", [entry]) is None
    misnamed = EntryPoint("acme-other", "acme:SIGNS", "ingot.encodings")
    with pytest.raises(ExtensionError, match="CustomEncoding called acme-other"):
        custom_encoding("acme-other", [misnamed])
    with pytest.raises(UsageError, match=r"ir/encoding\.py and acme:SIGNS"):
        custom_encoding("int8", [EntryPoint("int8", "acme:SIGNS", "ingot.encodings")])
    with pytest.raises(ValueError, match="unknown encoding 'acme-signs'; known are"):
        Encoding.parse("acme-signs")


def test_an_encoding_without_a_packing_is_held_as_floats() -> None:
    assert not SIGNS.rounds_activations and packing_for(SIGNS).name == "f32"
    weight = quantize(torch.randn(5, 40), SIGNS)
    packed = packing_for(SIGNS).pack(weight).view(torch.float32).view(40, 16)
    assert torch.equal(packed[:, :5].T, weight.dequantize())


def test_a_packing_must_fit_the_kernels(acme: Any) -> None:
    acme.PACKING = Packing("acme-signs", 64, 80, 0, lambda w, k: w, lambda level, block, to: None)
    acme.WIDE = Packing("acme-wide", 96, 80, 0, lambda w, k: w, lambda level, block, to: None)
    acme.CLOSED = Packing("acme-closed", 64, 80, 0, lambda w, k: w)

    def found(name: str, value: str) -> Packing | None:
        return registered_packing(name, [EntryPoint(name, f"acme:{value}", "ingot.cpu_packings")])

    assert found("acme-signs", "PACKING") is acme.PACKING
    with pytest.raises(ExtensionError, match="whose span divides 128"):
        found("acme-wide", "WIDE")
    with pytest.raises(ExtensionError, match="that can unpack"):
        found("acme-closed", "CLOSED")


def test_operations_of_others(acme: Any, caplog: pytest.LogCaptureFixture) -> None:
    acme.Other = object
    wrong = EntryPoint("acme_op", "acme:Other", "ingot.ops")
    missing = EntryPoint("acme_two", "acme_missing:Two", "ingot.ops")
    found = all_operations([wrong, missing])
    assert "lm.linear" in found and not any("acme" in name for name in found)
    assert "'acme_op' is object, not a subclass of ingot.ir.Op called lm.acme_op" in caplog.text
    assert "No module named 'acme_missing'" in caplog.text
    with pytest.raises(UsageError, match="two operations are called 'linear'"):
        all_operations([EntryPoint("linear", "acme:Other", "ingot.ops")])
