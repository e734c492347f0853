"""Rebuilds a Hugging Face configuration from the metadata of a GGUF file."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ingot.errors import CheckpointError, UnsupportedError

from .header import Header

LLAMA_FIELDS = {
    "max_position_embeddings": "context_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "hidden_size": "embedding_length",
    "num_attention_heads": "attention.head_count",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
GPT2_FIELDS = {
    "n_positions": "context_length",
    "n_layer": "block_count",
    "n_inner": "feed_forward_length",
    "n_embd": "embedding_length",
    "n_head": "attention.head_count",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
}
FIELDS: Mapping[str, Mapping[str, str]] = {
    "llama": LLAMA_FIELDS,
    "qwen2": LLAMA_FIELDS,
    "qwen3": LLAMA_FIELDS,
    "gpt2": GPT2_FIELDS,
}


class Metadata:
    """The metadata of one architecture; a key is given without the architecture's name."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.architecture = str(header.metadata.get("general.architecture", ""))

    def get(self, key: str, default: Any = None) -> Any:
        value = self.header.metadata.get(f"{self.architecture}.{key}", default)
        # A float32 such as 1e-05 is written in full otherwise: 9.999999747378752e-06.
        return float(str(np.float32(value))) if isinstance(value, float) else value

    def required(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            raise CheckpointError(
                f"the metadata lack {self.architecture}.{key}",
                where=str(self.header.path),
                hint="Convert the model again with a current llama.cpp.",
            )
        return value


def config_fields(header: Header) -> dict[str, Any]:
    """Return the fields of `config.json`; raises UnsupportedError for an unknown architecture."""
    metadata = Metadata(header)
    names = FIELDS.get(metadata.architecture)
    if names is None:
        raise UnsupportedError(
            f"a GGUF file of the architecture {metadata.architecture!r} cannot be read; known are "
            f"{', '.join(FIELDS)}",
            where=str(header.path),
            hint="Give the Hugging Face checkpoint of the model.",
        )
    _refuse_what_is_not_read(metadata)
    fields = {name: metadata.required(key) for name, key in names.items()}
    fields["model_type"] = metadata.architecture
    fields["vocab_size"] = _tensor_shape(header, "token_embd.weight")[0]
    fields["tie_word_embeddings"] = "output.weight" not in header.tensors
    fields |= special_token_ids(header.metadata)
    if names is LLAMA_FIELDS:
        fields |= _rotary_fields(metadata, fields)
    return fields


def special_token_ids(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return `bos_token_id` and so on; the end of a turn ends a text as well."""
    keys = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    ids = {name: metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in keys.items()}
    end_of_turn = metadata.get("tokenizer.ggml.eot_token_id")
    if end_of_turn is not None and end_of_turn != ids["eos_token_id"]:
        ends = (ids["eos_token_id"], end_of_turn)
        ids["eos_token_id"] = [number for number in ends if number is not None]
    return ids


def _refuse_what_is_not_read(metadata: Metadata) -> None:
    path = str(metadata.header.path)
    if metadata.header.metadata.get("split.count", 1) > 1:
        raise UnsupportedError(
            "the model is split over several GGUF files",
            where=path,
            hint="Merge them with `llama-gguf-split --merge`.",
        )
    if metadata.get("expert_count", 0):
        raise UnsupportedError(
            "mixtures of experts cannot be read from GGUF files",
            where=path,
            hint="Give the Hugging Face checkpoint of the model.",
        )


def _rotary_fields(metadata: Metadata, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that Llama and its descendants have: heads, rotary embedding, window."""
    heads, width = fields["num_attention_heads"], fields["hidden_size"]
    kv_heads = metadata.get("attention.head_count_kv", heads)
    if isinstance(heads, list) or isinstance(kv_heads, list):
        raise UnsupportedError(
            "the number of heads differs between layers", where=str(metadata.header.path)
        )
    head_dim = metadata.get("attention.key_length", width // heads)
    rotated = metadata.get("rope.dimension_count", head_dim)
    if rotated != head_dim:
        raise UnsupportedError(
            f"only {rotated} of the {head_dim} elements of a head are rotated",
            where=str(metadata.header.path),
            hint="Give the Hugging Face checkpoint of the model.",
        )
    more: dict[str, Any] = {
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "rope_parameters": _rope_parameters(metadata),
    }
    if metadata.architecture == "llama":
        more["attention_bias"] = "blk.0.attn_q.bias" in metadata.header.tensors
        if window := metadata.get("attention.sliding_window", 0):
            # llama.cpp knows no Mistral: it is Llama with a window.
            more |= {"model_type": "mistral", "sliding_window": window}
    return more


def _rope_parameters(metadata: Metadata) -> dict[str, Any]:
    parameters: dict[str, Any] = {"rope_theta": metadata.get("rope.freq_base", 10000.0)}
    kind = metadata.get("rope.scaling.type", "none")
    if kind == "none":
        return parameters | {"rope_type": "default"}
    if kind not in ("linear", "yarn"):
        raise UnsupportedError(
            f"the rotary scaling {kind!r} cannot be read", where=str(metadata.header.path)
        )
    parameters |= {"rope_type": kind, "factor": metadata.required("rope.scaling.factor")}
    if kind == "yarn" and (original := metadata.get("rope.scaling.original_context_length")):
        parameters["original_max_position_embeddings"] = original
    return parameters


def _tensor_shape(header: Header, name: str) -> tuple[int, ...]:
    if name not in header.tensors:
        raise CheckpointError(
            f"weight {name!r} is missing",
            where=str(header.path),
            hint="Download or convert the file again.",
        )
    return header.tensors[name].shape
