"""Weights that are not stored as the model has them, and values that no file stores."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from ingot.errors import CheckpointError
from ingot.models import open_blueprint, open_checkpoint
from ingot.models.architecture import build_architecture
from ingot.models.buffers import buffer_entries

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "vocab_size": 64,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "short_factor": [1.0] * 8,
    "long_factor": [2.0] * 8,
}


def config_of(kind: str, **fields: Any) -> PretrainedConfig:
    config = AutoConfig.for_model(kind, **{**SMALL, **fields})
    assert isinstance(config, PretrainedConfig)
    return config


def test_a_tensor_for_each_expert_becomes_one_of_all(tmp_path: Path) -> None:
    config = config_of("qwen3_moe", **EXPERTS)
    model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(tmp_path)
    weights = open_checkpoint(tmp_path).weights
    for name, parameter in model.named_parameters():
        assert weights.info(name).shape == parameter.shape
        value = weights[name]
        assert isinstance(value, torch.Tensor)
        torch.testing.assert_close(value, parameter.data)


@pytest.mark.parametrize("kind", ["gemma2", "minicpm3", "llama"])
def test_buffers_have_the_values_of_a_model_on_the_cpu(kind: str) -> None:
    """Also those of modules that need more than a configuration, and integers."""
    config = config_of(kind, num_key_value_heads=2)
    expected = dict(AutoModelForCausalLM.from_config(config).named_buffers())  # type: ignore[no-untyped-call]
    found = buffer_entries(build_architecture(config))
    assert set(found) == set(expected) and expected
    for name, entry in found.items():
        value = entry.read()
        assert isinstance(value, torch.Tensor)
        assert value.dtype == entry.info.stored == torch.float32
        torch.testing.assert_close(value, expected[name].float())


def test_a_blueprint_has_types_but_no_values(tmp_path: Path) -> None:
    config = config_of("llama", dtype="bfloat16")
    config.to_json_file(tmp_path / "config.json")
    blueprint = open_blueprint(tmp_path)
    info = blueprint.weights.info("model.embed_tokens.weight")
    assert (info.shape, info.stored) == ((64, 32), torch.bfloat16)
    with pytest.raises(CheckpointError, match="not there"):
        blueprint.weights["model.embed_tokens.weight"]


def test_long_rotary_frequencies_bound_the_positions(tmp_path: Path) -> None:
    long = config_of("phi3", rope_parameters=LONG, original_max_position_embeddings=64)
    long.to_json_file(tmp_path / "config.json")
    assert open_blueprint(tmp_path).position_limit == 64
    config_of("llama").to_json_file(tmp_path / "config.json")
    assert open_blueprint(tmp_path).position_limit is None
