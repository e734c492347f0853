"""Models that give a row for each text: `type/embed` or `type/classify`."""

from collections.abc import Mapping
from typing import Any

from .common import ALTERNATING, SMALL, Fields

ROBERTA: Fields = {**SMALL, "pad_token_id": 1, "bos_token_id": 0, "type_vocab_size": 1}
DISTILBERT: Fields = {
    "dim": 64,
    "hidden_dim": 96,
    "n_layers": 2,
    "n_heads": 4,
    "vocab_size": SMALL["vocab_size"],
    "max_position_embeddings": SMALL["max_position_embeddings"],
    "pad_token_id": 0,
}
MODERNBERT: Fields = {
    **SMALL,
    "num_hidden_layers": 4,
    "global_attn_every_n_layers": 3,
    "local_attention": 16,
}
DECODER: Fields = {**SMALL, "head_dim": 16}

ENCODERS: Mapping[str, Mapping[str, Any]] = {
    "albert/embed": {**SMALL, "embedding_size": 32},
    "bert/classify": {**SMALL, "num_labels": 1},
    "bert/embed": SMALL,
    "camembert/embed": ROBERTA,
    "data2vec-text/embed": ROBERTA,
    "distilbert/classify": {**DISTILBERT, "num_labels": 3},
    "distilbert/embed": DISTILBERT,
    "electra/embed": {**SMALL, "embedding_size": 32},
    "ernie/embed": SMALL,
    "eurobert/classify": {**SMALL, "num_labels": 2},
    "eurobert/embed": SMALL,
    "gemma3_text/embed": {
        **DECODER,
        **ALTERNATING,
        "use_bidirectional_attention": True,
    },
    "gte/classify": {**SMALL, "num_labels": 1},
    "gte/embed": {**SMALL, "type_vocab_size": 2},
    "jina_embeddings_v3/embed": {**SMALL, "type_vocab_size": 1},
    "modernbert/classify": {**MODERNBERT, "num_labels": 1, "classifier_pooling": "mean"},
    "modernbert/embed": MODERNBERT,
    "nomic_bert/embed": SMALL,
    "qwen3/classify": {**DECODER, "num_labels": 1},
    "qwen3/embed": DECODER,
    "roberta/classify": {**ROBERTA, "num_labels": 1},
    "roberta/embed": ROBERTA,
    "xlm-roberta/classify": {**ROBERTA, "num_labels": 1},
    "xlm-roberta/embed": ROBERTA,
    "xlm-roberta-xl/embed": ROBERTA,
}
