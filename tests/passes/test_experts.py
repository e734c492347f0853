"""Routers and experts of real architectures are raised, and compute what transformers computes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    GptOssConfig,
    Llama4TextConfig,
    PhimoeConfig,
    PretrainedConfig,
)

from ingot.ir import (
    BF16_ACTIVATION,
    Batch,
    Experts,
    Linear,
    Module,
    Route,
    encoding_of,
    is_rounded,
    run_step,
)
from ingot.models import Checkpoint, import_model, open_checkpoint, write_random_checkpoint
from ingot.passes import parse_pipeline

PIPELINE = "raise,canonicalize,select-rows,outline"
COMMON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "num_experts_per_tok": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "deepseek_v3": lambda: DeepseekV3Config(
        **COMMON,
        moe_intermediate_size=16,
        n_routed_experts=8,
        n_group=4,
        topk_group=2,
        first_k_dense_replace=1,
        routed_scaling_factor=2.5,
        q_lora_rank=24,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=16,
        v_head_dim=16,
    ),
    "gpt_oss": lambda: GptOssConfig(**COMMON, num_local_experts=5, head_dim=16),
    "llama4": lambda: Llama4TextConfig(
        **{**COMMON, "num_experts_per_tok": 1},
        intermediate_size_mlp=48,
        num_local_experts=4,
        head_dim=16,
        interleave_moe_layer_step=2,
    ),
    "phimoe": lambda: PhimoeConfig(**COMMON, num_local_experts=4),
}


LENGTHS = (19, 12)
Ops = list[Any]


@pytest.fixture(scope="module", params=CONFIGS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("experts") / request.param
    write_random_checkpoint(folder, CONFIGS[request.param]())
    return request.param, folder, open_checkpoint(folder)


@pytest.fixture(scope="module")
def imported(checkpoint: tuple[str, Path, Checkpoint]) -> Module:
    return import_model(checkpoint[2])


def all_of(module: Module, kind: type) -> Ops:
    return [op for op in module.step.entry_block.operations if isinstance(op, kind)]


def run(module: Module, checkpoint: Checkpoint) -> torch.Tensor:
    tokens = torch.randint(97, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1))
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    starts = [0, LENGTHS[0], sum(LENGTHS)]
    return run_step(module, checkpoint.weights, tokens, positions, Batch(starts))


def expected(folder: Path) -> torch.Tensor:
    tokens = torch.randint(97, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1))
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    with torch.inference_mode():
        parts = [model(part[None], use_cache=False).logits[0] for part in tokens.split(LENGTHS)]
    return torch.cat(parts)


def test_logits_are_those_of_transformers_before_and_after_raising(
    checkpoint: tuple[str, Path, Checkpoint], imported: Module
) -> None:
    _, folder, opened = checkpoint
    target = expected(folder)
    raised = imported.clone()
    parse_pipeline(PIPELINE).run(raised)
    for module in (imported, raised):
        assert (run(module, opened) - target).abs().max() <= 1e-5 * target.abs().max()


def test_experts_are_raised_with_what_lies_between_and_known_routers(
    checkpoint: tuple[str, Path, Checkpoint], imported: Module
) -> None:
    name, _, _ = checkpoint
    raised = imported.clone()
    parse_pipeline(PIPELINE).run(raised)
    layers, routers = all_of(raised, Experts), all_of(raised, Route)
    assert len(layers) == {"deepseek_v3": 1, "llama4": 1}.get(name, 2)
    assert len(routers) == len(layers)
    if name == "phimoe":
        assert routers[0].score == "mixer" and routers[0].threshold == pytest.approx(0.02)
    layer = layers[0]
    if name == "gpt_oss":
        assert (layer.unit.limit, layer.unit.up_shift) == (7.0, 1.0)
        assert layer.unit.alpha == pytest.approx(1.702)
        assert layer.up_bias is not None and layer.down_bias is not None
        assert routers[0].score == "softmax_chosen"
    if name == "llama4":
        assert layer.weigh_input and routers[0].score == "sigmoid"
    if name == "deepseek_v3":
        router = routers[0]
        assert (router.groups, router.groups_per_token, router.group_score) == (4, 2, "top2")
        assert router.bias is not None and router.normalize and router.scale == 2.5


def test_experts_are_encoded_and_routers_are_not(
    checkpoint: tuple[str, Path, Checkpoint], imported: Module
) -> None:
    raised = imported.clone()
    parse_pipeline(f"{PIPELINE},quantize{{linear=int4-g32}},round-activations").run(raised)
    for layer in all_of(raised, Experts):
        assert {str(encoding_of(layer.up)), str(encoding_of(layer.down))} == {"int4-g32"}
        assert is_rounded(layer.x) and layer.round_hidden
    for router in all_of(raised, Route):
        linear = router.logits.owner
        assert isinstance(linear, Linear) and encoding_of(linear.w) is None


def test_experts_of_bfloat16_take_rounded_rows_and_routers_do_not(
    checkpoint: tuple[str, Path, Checkpoint], imported: Module
) -> None:
    raised = imported.clone()
    floats = "quantize{linear=none,embedding=none,float=bfloat16}"
    parse_pipeline(f"{PIPELINE},{floats},round-activations{{bfloat16=true}}").run(raised)
    for layer in all_of(raised, Experts):
        assert encoding_of(layer.x) == layer.hidden_encoding == BF16_ACTIVATION
    for router in all_of(raised, Route):
        linear = router.logits.owner
        assert isinstance(linear, Linear) and not is_rounded(linear.x)
