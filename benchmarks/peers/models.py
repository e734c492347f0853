"""The published configurations that every runtime is measured at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Model:
    """A published configuration; `settings` are the keywords of its `transformers` class."""

    name: str
    kind: str
    settings: Mapping[str, Any] = field(hash=False)

    @property
    def linear_weights(self) -> int:
        """Weights that a token of a prompt is multiplied with: the head is for the last alone."""
        s = self.settings
        width, inner, heads = s["hidden_size"], s["intermediate_size"], s["num_attention_heads"]
        head = s.get("head_dim", width // heads)
        attention = 2 * width * head * (heads + s["num_key_value_heads"])
        return int(s["num_hidden_layers"] * (attention + 3 * width * inner))

    def kv_bytes(self, tokens: int, element_bytes: float) -> float:
        """Return the bytes of keys and values of `tokens` tokens."""
        s = self.settings
        head = s.get("head_dim", s["hidden_size"] // s["num_attention_heads"])
        per_token = 2 * s["num_hidden_layers"] * s["num_key_value_heads"] * head
        return float(per_token * tokens * element_bytes)


def _llama(width: int, layers: int, heads: int, head: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 8192,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": head,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        "bos_token_id": 128000,
        "eos_token_id": 128001,
    }


QWEN = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 32768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "bos_token_id": 151643,
    "eos_token_id": 151645,
}

MODELS = {
    model.name: model
    for model in (
        Model("qwen2.5-0.5b", "qwen2", QWEN),
        Model("llama-3.2-1b", "llama", _llama(2048, 16, 32, 64)),
        Model("llama-3.2-3b", "llama", _llama(3072, 28, 24, 128)),
    )
}
