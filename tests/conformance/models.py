"""Small models that eight devices can divide: those of the straight line, and one of experts."""

from collections.abc import Callable, Mapping

from transformers import (
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

POSITIONS = 512
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
}

# Two KV heads, so that four and eight devices repeat them; biases, tied and untied tables, and a
# vocabulary that is whole everywhere because nothing divides it.
MODELS: Mapping[str, Callable[[], PretrainedConfig]] = {
    "llama": lambda: LlamaConfig(
        **SIZES,
        vocab_size=136,
        attention_bias=True,
        mlp_bias=True,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    ),
    "qwen2": lambda: Qwen2Config(**SIZES, vocab_size=200, tie_word_embeddings=True),
    "qwen3": lambda: Qwen3Config(**SIZES, vocab_size=168, head_dim=24, tie_word_embeddings=False),
    "mistral": lambda: MistralConfig(**SIZES, vocab_size=104, sliding_window=40),
    "gpt2": lambda: GPT2Config(
        vocab_size=149, n_embd=64, n_layer=2, n_head=8, n_positions=POSITIONS
    ),
    "mixtral": lambda: MixtralConfig(
        **SIZES, vocab_size=120, num_local_experts=8, num_experts_per_tok=2
    ),
}
