"""Small configurations given by hand, where a shrunk default would miss what matters."""

from collections.abc import Mapping
from typing import Any

from .hybrids import HYBRIDS
from .sizes import POSITIONS, VOCABULARY, WINDOW

TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
    **TOKENS,
}
ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
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
GPT2 = {"n_embd": 36, "n_layer": 2, "n_head": 3, "n_positions": POSITIONS, "vocab_size": 97}

HAND: Mapping[str, Mapping[str, Any]] = {
    **HYBRIDS,
    "llama": {**SMALL, "rope_parameters": LLAMA3_ROPE, "attention_bias": True, "mlp_bias": True},
    "qwen2": {**SMALL, "tie_word_embeddings": True, "rope_parameters": YARN_ROPE},
    "qwen3": {**SMALL, "head_dim": 24, "tie_word_embeddings": True},
    "mistral": {**SMALL, "head_dim": 16, "sliding_window": WINDOW},
    "gpt2": {**GPT2, **TOKENS},
    "gemma2": {**SMALL, **ALTERNATING, "head_dim": 16, "query_pre_attn_scalar": 16},
    "gemma3_text": {**SMALL, **ALTERNATING, "head_dim": 16, "query_pre_attn_scalar": 16},
}
