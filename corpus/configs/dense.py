"""Models of attention and dense layers."""

from collections.abc import Mapping

from corpus.sizes import POSITIONS, VOCABULARY, WINDOW

from .common import ALTERNATING, SMALL, TOKENS, Fields

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
    "long_factor": [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5],
}
SCALES = {
    "embedding_multiplier": 3.0,
    "logits_scaling": 2.0,
    "residual_multiplier": 0.7,
    "attention_multiplier": 0.2,
}
GPT2 = {"n_embd": 36, "n_layer": 2, "n_head": 3, "n_positions": POSITIONS, "vocab_size": 97}

DENSE: Mapping[str, Fields] = {
    "llama": {**SMALL, "rope_parameters": LLAMA3_ROPE, "attention_bias": True, "mlp_bias": True},
    "qwen2": {**SMALL, "tie_word_embeddings": True, "rope_parameters": YARN_ROPE},
    "qwen3": {**SMALL, "head_dim": 24, "tie_word_embeddings": True},
    "mistral": {**SMALL, "head_dim": 16, "sliding_window": WINDOW},
    "gpt2": {**GPT2, **TOKENS},
    "gemma2": {**SMALL, **ALTERNATING, "head_dim": 16, "query_pre_attn_scalar": 16},
    "gemma3_text": {**SMALL, **ALTERNATING, "head_dim": 16, "query_pre_attn_scalar": 16},
    "gemma4_text": {
        **SMALL,
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "sliding_window": WINDOW,
        "num_kv_shared_layers": 2,
        "head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": VOCABULARY,
        "per_layer_config": {"1": {"head_dim": 32}, "3": {"head_dim": 32}},
    },
    "gemma3n_text": {
        **SMALL,
        "num_hidden_layers": 4,
        "intermediate_size": [96] * 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "sliding_window": WINDOW,
        "num_kv_shared_layers": 2,
        "head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": VOCABULARY,
        "laurel_rank": 8,
        "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.9, 0.0, 0.0, 0.0],
    },
    "granite": {**SMALL, **SCALES},
    "phi3/longrope": {
        **SMALL,
        "rope_parameters": LONG_ROPE,
        "original_max_position_embeddings": 128,
    },
    "cohere_compass_text": {
        **SMALL,
        **ALTERNATING,
        "head_dim": 16,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    },
    "falcon": {**SMALL, "alibi": False, "multi_query": True, "new_decoder_architecture": False},
    "falcon/alibi": {**SMALL, "alibi": True, "multi_query": False, "parallel_attn": False},
    "falcon/new": {**SMALL, "num_kv_heads": 2, "new_decoder_architecture": True},
    "nemotron": {**SMALL, "head_dim": 16},
    "minicpm3": {
        **SMALL,
        "num_key_value_heads": 4,
        "q_lora_rank": 32,
        "kv_lora_rank": 24,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 12,
    },
}
