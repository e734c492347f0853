"""Experts stored as MXFP4 come out as the numbers that the format defines."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from ingot.errors import CheckpointError
from ingot.models.architecture import config_from_fields
from ingot.models.formats.mxfp4 import decode_mxfp4
from ingot.models.weights import StoredWeight, WeightInfo


def stored(value: Tensor) -> StoredWeight:
    return StoredWeight(WeightInfo(tuple(value.shape), value.dtype), lambda: value)


def experts(count: int, rows: int, groups: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes: dict[str, tuple[Any, int, int]] = {
        "experts.down_proj_blocks": ((count, rows, groups, 16), 0, 256),
        "experts.down_proj_scales": ((count, rows, groups), 100, 140),
    }
    return {
        name: torch.randint(low, high, shape, generator=generator).to(torch.uint8)
        for name, (shape, low, high) in sizes.items()
    }


def test_blocks_and_scales_become_one_transposed_weight() -> None:
    tensors = experts(3, 48, 2)
    bias = torch.zeros(3, 48)
    entries = {name: stored(value) for name, value in tensors.items()}
    decoded = decode_mxfp4({**entries, "experts.down_proj_bias": stored(bias)}, where="test")
    assert set(decoded) == {"experts.down_proj", "experts.down_proj_bias"}
    entry = decoded["experts.down_proj"]
    assert entry.info == WeightInfo((3, 64, 48), torch.bfloat16)
    expected = convert_moe_packed_tensors(*tensors.values())
    assert torch.equal(entry.read(), expected)


def test_each_code_is_its_number() -> None:
    even = torch.arange(0, 16, 2)
    codes = torch.tensor([low | high << 4 for low, high in zip(even, even + 1, strict=True)])
    blocks = torch.cat([codes, codes]).to(torch.uint8).view(1, 1, 1, 16)
    scales = torch.tensor([[[128]]], dtype=torch.uint8)
    entries = {"w_blocks": stored(blocks), "w_scales": stored(scales)}
    values = decode_mxfp4(entries, where="test")["w"].read()
    positive = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0]
    expected = [*positive, *(-number for number in positive)] * 2
    assert isinstance(values, Tensor) and values.flatten().tolist() == expected


def test_blocks_without_their_scales_are_refused() -> None:
    entries = {name: stored(value) for name, value in experts(2, 8, 1).items()}
    del entries["experts.down_proj_scales"]
    with pytest.raises(CheckpointError, match="has no fitting"):
        decode_mxfp4(entries, where="test")


def test_a_configuration_may_say_mxfp4() -> None:
    fields = {"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}
    assert config_from_fields(fields, where="test").model_type == "gpt_oss"
