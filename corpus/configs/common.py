"""What the small configurations given by hand share."""

from collections.abc import Mapping
from typing import Any

from corpus.sizes import POSITIONS, VOCABULARY, WINDOW

Fields = Mapping[str, Any]

TOKENS: Fields = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SMALL: Fields = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": POSITIONS,
    **TOKENS,
}
ALTERNATING: Fields = {
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": WINDOW,
}
