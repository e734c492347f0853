"""Models whose layers have experts."""

from collections.abc import Mapping

from corpus.sizes import VOCABULARY, WINDOW

from .common import SMALL, Fields

MLA: Fields = {
    **SMALL,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 24,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "head_dim": 8,
    "v_head_dim": 12,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_shared_experts": 1,
    "n_group": 4,
    "topk_group": 2,
    "first_k_dense_replace": 1,
    "mlp_layer_types": ["dense", "sparse", "sparse"],
}
GROUPED: Fields = {**MLA, "topk_method": "group_limited_greedy", "routed_scaling_factor": 1.7}

EXPERTS: Mapping[str, Fields] = {
    "deepseek_v2": GROUPED,
    "deepseek_v3": {**MLA, "routed_scaling_factor": 1.7},
    "axk1": {**MLA, "routed_scaling_factor": 1.7},
    "dots1": {
        **SMALL,
        "moe_intermediate_size": 32,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "head_dim": 16,
        "routed_scaling_factor": 1.7,
    },
    "dbrx": {
        "d_model": 64,
        "n_heads": 4,
        "n_layers": 2,
        "max_seq_len": 512,
        "vocab_size": VOCABULARY,
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
        "ffn_config": {
            "hidden_size": 64,
            "ffn_hidden_size": 48,
            "moe_num_experts": 4,
            "moe_top_k": 2,
        },
    },
    "llama4_text": {
        **SMALL,
        "num_hidden_layers": 4,
        "head_dim": 16,
        "intermediate_size_mlp": 96,
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 2,
        "no_rope_layers": [1, 0, 1, 1],
        "attention_chunk_size": WINDOW,
    },
    "nemotron_h/experts": {
        **SMALL,
        "layers_block_type": ["full_attention", "moe"],
        "head_dim": 16,
        "moe_intermediate_size": 32,
        "moe_shared_expert_intermediate_size": 40,
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
    },
}
