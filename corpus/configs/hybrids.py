"""Small configurations of models that carry a state from token to token."""

from collections.abc import Mapping
from typing import Any

from corpus.sizes import POSITIONS, VOCABULARY

_TOKENS = {
    "vocab_size": VOCABULARY,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_COMMON = {"max_position_embeddings": POSITIONS, **_TOKENS}
_ATTENTION = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    **_COMMON,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
# Sizes that no vector divides, groups of several heads, more value than key heads.
_MAMBA2 = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_n_groups": 2,
    "mamba_d_state": 24,
    "mamba_d_conv": 4,
    "mamba_chunk_size": 16,
}
_DELTA = {
    "head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 12,
    "linear_value_head_dim": 20,
    "linear_conv_kernel_dim": 4,
    "num_hidden_layers": 4,
}
_SHARED_EXPERT = {**_EXPERTS, "shared_expert_intermediate_size": 48}
_MAMBA = {"hidden_size": 48, "state_size": 12, "conv_kernel": 4, "time_step_rank": 6, **_TOKENS}
_CONVOLUTIONS = {"conv_L_cache": 3, "layer_types": ["conv", "full_attention", "conv"]}

HYBRIDS: Mapping[str, Mapping[str, Any]] = {
    "mamba": {**_MAMBA, "intermediate_size": 96, "num_hidden_layers": 2},
    "falcon_mamba": {**_MAMBA, "intermediate_size": 96, "num_hidden_layers": 2},
    "mamba2": {
        **_TOKENS,
        "hidden_size": 64,
        "num_heads": 8,
        "head_dim": 16,
        "state_size": 24,
        "n_groups": 2,
        "num_hidden_layers": 2,
        "conv_kernel": 4,
        "chunk_size": 16,
        "tie_word_embeddings": False,
    },
    "jamba": {
        **_ATTENTION,
        "num_hidden_layers": 4,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "mamba_d_state": 12,
        "mamba_d_conv": 4,
        "mamba_dt_rank": 6,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
    },
    "bamba": {**_ATTENTION, **_MAMBA2, "num_hidden_layers": 3, "attn_layer_indices": [1]},
    "falcon_h1": {**_ATTENTION, **_MAMBA2, "mamba_d_ssm": 128, "num_hidden_layers": 2},
    "falcon_h1/norm": {
        **_ATTENTION,
        **_MAMBA2,
        "mamba_d_ssm": 128,
        "num_hidden_layers": 2,
        "mamba_rms_norm": True,
        "ssm_in_multiplier": 1.5,
        "ssm_multipliers": [0.5, 1.25, 0.75, 1.5, 2.0],
    },
    "granitemoehybrid": {
        **_ATTENTION,
        **_MAMBA2,
        "shared_intermediate_size": 48,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 3,
        "layer_types": ["mamba", "attention", "mamba"],
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.5,
        "logits_scaling": 2.0,
        "attention_multiplier": 0.3,
    },
    "nemotron_h": {
        **_ATTENTION,
        "head_dim": 16,
        "hybrid_override_pattern": "M*-M",
        "num_hidden_layers": 4,
        "mamba_num_heads": 8,
        "mamba_head_dim": 16,
        "n_groups": 2,
        "ssm_state_size": 24,
        "conv_kernel": 4,
        "chunk_size": 16,
    },
    "zamba2": {
        **_ATTENTION,
        "num_key_value_heads": 4,
        "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "hybrid_layer_ids": [1, 3],
        "num_hidden_layers": 4,
        "attention_head_dim": 32,
        "attention_hidden_size": 128,
        "n_mamba_heads": 8,
        "mamba_headdim": 16,
        "mamba_ngroups": 2,
        "mamba_d_state": 24,
        "chunk_size": 16,
        "num_mem_blocks": 1,
    },
    "lfm2": {**_ATTENTION, **_CONVOLUTIONS, "num_hidden_layers": 3},
    "lfm2_moe": {
        **_ATTENTION,
        **_CONVOLUTIONS,
        **_EXPERTS,
        "num_hidden_layers": 3,
        "num_dense_layers": 1,
    },
    "qwen3_next": {**_ATTENTION, **_DELTA, **_SHARED_EXPERT},
    "qwen3_5_text": {**_ATTENTION, **_DELTA},
    "qwen3_5_moe_text": {**_ATTENTION, **_DELTA, **_SHARED_EXPERT},
    # Decays of their own for every row of the state, beside attention with a latent cache.
    "kimi_linear": {
        **_ATTENTION,
        **_EXPERTS,
        "num_key_value_heads": 4,
        "num_hidden_layers": 4,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
        "linear_num_heads": 4,
        "linear_head_dim": 20,
        "linear_conv_kernel_dim": 4,
        "kv_lora_rank": 32,
        "q_lora_rank": None,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "n_shared_experts": 1,
        "n_group": 1,
        "topk_group": 1,
    },
    "olmo_hybrid": {**_ATTENTION, **_DELTA},
}
"""By model type, or `type/variant`."""
