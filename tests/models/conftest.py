"""Checkpoints of every format and architecture, small enough to make in a test."""

import pydoc_data.topics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from gguf.constants import GGMLQuantizationType as Kind
from transformers import AutoConfig, PretrainedConfig
from transformers.pytorch_utils import Conv1D

from ingot.models import fetch_builtin, write_random_checkpoint
from ingot.models.architecture import build_architecture

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 320,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "llama": SMALL | {"rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": False},
    "qwen2": SMALL | {"tie_word_embeddings": True, "num_key_value_heads": 1},
    "qwen3": SMALL | {"tie_word_embeddings": True, "head_dim": 32},
    "mistral": SMALL | {"tie_word_embeddings": False, "sliding_window": 16},
    "gpt2": {
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 512,
        "vocab_size": 320,
        "bos_token_id": 0,
        "eos_token_id": 2,
    },
}

WriteGguf = Callable[..., Path]


def config_of(architecture: str, **changes: Any) -> PretrainedConfig:
    """Return the small config of an architecture."""
    return AutoConfig.for_model(architecture, **ARCHITECTURES[architecture], **changes)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A random float32 folder of each architecture."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: write_random_checkpoint(root / name, config_of(name)) for name in ARCHITECTURES}


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A fresh folder of a Llama in two shards and more, to be damaged."""
    return write_random_checkpoint(tmp_path / "llama", config_of("llama"), shard_bytes=100_000)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The GGUF file of the built-in model."""
    return fetch_builtin()


@pytest.fixture
def write_gguf() -> WriteGguf:
    """A function that writes a GGUF file as llama.cpp's conversion would."""
    return _write_gguf


def _write_gguf(
    path: Path,
    config: PretrainedConfig,
    weights: Mapping[str, torch.Tensor],
    kind: Kind = Kind.F32,
    extra: Mapping[str, tuple["np.ndarray[Any, Any]", Kind]] | None = None,
    **metadata: Any,
) -> Path:
    architecture = config.model_type
    writer = gguf.GGUFWriter(path, architecture)
    if architecture == "gpt2":
        writer.add_context_length(config.n_positions)
        writer.add_block_count(config.n_layer)
        writer.add_embedding_length(config.n_embd)
        writer.add_feed_forward_length(4 * config.n_embd)
        writer.add_head_count(config.n_head)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_context_length(config.max_position_embeddings)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_embedding_length(config.hidden_size)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        if architecture == "qwen3":
            writer.add_key_length(config.head_dim)
    for key, value in metadata.items():
        _add(writer, key.replace("__", "."), value)
    _add_tensors(writer, config, weights, kind)
    for key, (data, stored) in (extra or {}).items():
        writer.add_tensor(key, data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    else:
        writer.add_array(key, value)


def _add_tensors(
    writer: gguf.GGUFWriter,
    config: PretrainedConfig,
    weights: Mapping[str, torch.Tensor],
    kind: Kind,
) -> None:
    number = next(key for key, name in MODEL_ARCH_NAMES.items() if name == config.model_type)
    names = get_tensor_name_map(number, config.num_hidden_layers)
    modules = dict(build_architecture(config).named_modules())
    for name, weight in weights.items():
        module, _, _ = name.rpartition(".")
        data = weight.float().numpy()
        if isinstance(modules.get(module), Conv1D) and data.ndim == 2:
            data = np.ascontiguousarray(data.T)
        if config.model_type == "llama" and module.endswith(("q_proj", "k_proj")):
            count = "num_attention_heads" if module.endswith("q_proj") else "num_key_value_heads"
            data = _interleaved(data, getattr(config, count))
        key = names.get_name(name, try_suffixes=(".weight", ".bias")) or name
        stored = Kind.F32 if data.ndim == 1 else kind
        writer.add_tensor(key, gguf.quantize(data, stored), raw_dtype=stored)


def _interleaved(data: "np.ndarray[Any, Any]", heads: int) -> "np.ndarray[Any, Any]":
    """What llama.cpp's conversion does to the rows of q and k."""
    halves = data.reshape(heads, 2, data.shape[0] // heads // 2, *data.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(data.shape))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Text of many kinds: prose, code, numbers, spaces, accents, scripts, emoji, special tokens."""
    return [
        "The capital of France is Paris.",
        "  two spaces, then\ttabs\t\tand\n\n\nlines \r\n and an end  ",
        "1 22 333 4444 55555,  12  345 3.14159 1e-5 0x1F ½ ²",
        "def f(x):\n    return {k: v for k, v in x.items() if k != 'a'}  # it's don't WE'LL\n",
        "naïve café Ünïcödé — “quotes” … fin’s",  # noqa: RUF001 - on purpose
        "日本語のテキスト 中文文本 한국어 العربية עברית हिन्दी ไทย",
        "👩‍👩‍👧‍👦🎉 e\u0301 \u200b\ufeff\u00a0x",
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<|endoftext|> <|im_end",
        "",
        " ",
        "\x00\x01\x7f",
        *[text[:3000] for text in list(pydoc_data.topics.topics.values())[:12]],
    ]
