"""GGUF files of every architecture and block type against what they were written from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf.constants import GGMLQuantizationType as Kind
from tokenizers import Tokenizer, trainers

from ingot.errors import CheckpointError, IngotError, UnsupportedError
from ingot.ir import Encoding, QuantTensor
from ingot.models import open_checkpoint, small_tokenizer, write_random_checkpoint
from ingot.models.formats.gguf.header import read_header
from ingot.models.formats.gguf.tokenizer import ALPHABET, SPLITS, split_step, tokenizer_json
from ingot.models.random_checkpoint import SPECIAL_TOKENS


def value_of(value: torch.Tensor | QuantTensor) -> torch.Tensor:
    return value.dequantize() if isinstance(value, QuantTensor) else value


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    """The stored tensors, an untied head included, under Hugging Face names."""
    checkpoint = open_checkpoint(folder)
    names = [name for name in checkpoint.weights if "inv_freq" not in name]
    return {n: value_of(checkpoint.weights[n]) for n in names if n not in checkpoint.tied}


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gpt2"])
@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16])
def test_floats_come_back_under_their_names(
    folders: dict[str, Path], tmp_path: Path, write_gguf: Any, architecture: str, kind: Kind
) -> None:
    original = open_checkpoint(folders[architecture])
    weights = parameters(folders[architecture])
    path = write_gguf(tmp_path / "model.gguf", original.config, weights, kind)
    checkpoint = open_checkpoint(path)
    dtype = {Kind.F32: torch.float32, Kind.F16: torch.float16, Kind.BF16: torch.bfloat16}[kind]
    assert checkpoint.unused == ()
    assert dict(checkpoint.tied) == dict(original.tied)
    for name, expected in weights.items():
        kept = torch.float32 if expected.ndim == 1 else dtype
        assert checkpoint.weights.info(name).stored == kept
        assert torch.equal(value_of(checkpoint.weights[name]), expected.to(kept)), name


def test_the_config_comes_back(folders: dict[str, Path], tmp_path: Path, write_gguf: Any) -> None:
    for architecture in ("qwen2", "qwen3", "gpt2"):
        original = open_checkpoint(folders[architecture])
        ids = {"tokenizer__ggml__bos_token_id": 0, "tokenizer__ggml__eos_token_id": 2}
        path = tmp_path / f"{architecture}.gguf"
        write_gguf(path, original.config, parameters(folders[architecture]), **ids)
        found, expected = open_checkpoint(path).config.to_dict(), original.config.to_dict()
        told_elsewhere = {"architectures", "pad_token_id", "n_inner", "dtype", "_name_or_path"}
        differing = {k for k in expected if found.get(k) != expected[k]} - told_elsewhere
        assert differing == set()


def test_llama_with_a_window_is_mistral(
    folders: dict[str, Path], tmp_path: Path, write_gguf: Any
) -> None:
    original = open_checkpoint(folders["mistral"])
    fields = original.config.to_dict() | {"model_type": "llama"}
    config = transformers.AutoConfig.for_model(**fields)
    more = {"llama__attention__sliding_window": 16}
    path = write_gguf(tmp_path / "m.gguf", config, parameters(folders["mistral"]), **more)
    checkpoint = open_checkpoint(path)
    assert checkpoint.config.model_type == "mistral"
    assert checkpoint.config.sliding_window == 16


def test_rotary_factors_divide_the_frequencies(
    folders: dict[str, Path], tmp_path: Path, write_gguf: Any
) -> None:
    original = open_checkpoint(folders["llama"])
    factors = torch.tensor([1.0, 1.0, 2.0, 2.5, 8.0, 8.0, 8.0, 8.0])
    weights = parameters(folders["llama"]) | {"rope_freqs.weight": factors}
    checkpoint = open_checkpoint(write_gguf(tmp_path / "m.gguf", original.config, weights))
    plain = 1.0 / 5e5 ** (torch.arange(0, 16, 2) / 16)
    torch.testing.assert_close(checkpoint.weights["model.rotary_emb.inv_freq"], plain / factors)
    assert checkpoint.unused == ()


@pytest.mark.parametrize("scaling", ["linear", "yarn"])
def test_rotary_scaling(
    folders: dict[str, Path], tmp_path: Path, write_gguf: Any, scaling: str
) -> None:
    more = {
        "llama__rope__scaling__type": scaling,
        "llama__rope__scaling__factor": 4.0,
        "llama__rope__scaling__original_context_length": 128,
    }
    config = open_checkpoint(folders["llama"]).config
    path = write_gguf(tmp_path / "m.gguf", config, parameters(folders["llama"]), **more)
    rope = open_checkpoint(path).config.rope_parameters
    assert (rope["rope_type"], rope["factor"], rope["rope_theta"]) == (scaling, 4.0, 5e5)


ENCODED = {Kind.Q4_0: "int4-g32-sym", Kind.Q4_1: "int4-g32-min", Kind.Q8_0: "int8-g32"}


@pytest.mark.parametrize("kind", [*ENCODED, Kind.Q5_0, Kind.Q5_1])
def test_blocks_have_the_values_of_the_gguf_package(
    folders: dict[str, Path], tmp_path: Path, write_gguf: Any, kind: Kind
) -> None:
    weights = parameters(folders["llama"])
    config = open_checkpoint(folders["llama"]).config
    checkpoint = open_checkpoint(write_gguf(tmp_path / "m.gguf", config, weights, kind))
    for name, weight in weights.items():
        if weight.ndim == 1:
            continue
        # Blocks lie inside rows, so permuting rows and quantising them commute.
        expected = gguf.dequantize(gguf.quantize(weight.numpy(), kind), kind)
        stored = checkpoint.weights.info(name).stored
        assert stored == (Encoding.parse(ENCODED[kind]) if kind in ENCODED else torch.float32)
        assert np.array_equal(value_of(checkpoint.weights[name]).numpy(), expected), name


@pytest.mark.parametrize("kind", [Kind.Q2_K, Kind.Q3_K, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K])
def test_k_quants_have_the_values_of_transformers(
    folders: dict[str, Path], tmp_path: Path, write_gguf: Any, kind: Kind
) -> None:
    from transformers.integrations.gguf.dequant import dequantize

    config = transformers.AutoConfig.for_model("gpt2", **WIDE_GPT2)
    weights = parameters(write_random_checkpoint(tmp_path / "wide", config))
    del weights["transformer.wte.weight"]
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    random = np.random.default_rng(7)
    data = random.integers(0, 256, (320, 256 // block * block_bytes), dtype=np.uint8)
    # Of the two bytes of a float16, the second one then says that it is finite.
    data[:, 1::2] &= 0xBF
    path = tmp_path / "m.gguf"
    write_gguf(path, config, weights, extra={"token_embd.weight": (data, kind)})
    found = value_of(open_checkpoint(path).weights["transformer.wte.weight"])
    expected = dequantize(torch.from_numpy(data.copy()), int(kind)).view(320, 256)
    assert torch.equal(found, expected)


WIDE_GPT2 = {"n_embd": 256, "n_layer": 1, "n_head": 4, "n_positions": 32, "vocab_size": 320}


def trained(rule: str, text: list[str]) -> Tokenizer:
    """A small tokenizer whose merges were learned with the splitting rule."""
    description = json.loads(small_tokenizer(256 + 3, text))
    description["pre_tokenizer"] = split_step(SPLITS[rule])
    tokenizer = Tokenizer.from_str(json.dumps(description))
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(ALPHABET),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    return tokenizer


def tokenizer_metadata(rule: str, text: list[str]) -> dict[str, Any]:
    description = trained(rule, text)
    vocabulary = description.get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    merges = json.loads(description.to_str())["model"]["merges"]
    return {
        "tokenizer__ggml__model": "gpt2",
        "tokenizer__ggml__pre": rule,
        "tokenizer__ggml__tokens": tokens,
        "tokenizer__ggml__token_type": [3, 3, 3] + [1] * (len(tokens) - 3),
        "tokenizer__ggml__merges": [" ".join(merge) for merge in merges],
        "tokenizer__ggml__bos_token_id": 0,
        "tokenizer__ggml__eos_token_id": 2,
        "tokenizer__chat_template": "{{ messages }}",
    }


@pytest.mark.parametrize("rule", ["smollm", "gpt-2", "qwen2", "llama-bpe", "tekken"])
def test_tokenizer_is_that_of_transformers(
    folders: dict[str, Path], tmp_path: Path, write_gguf: Any, texts: list[str], rule: str
) -> None:
    config = open_checkpoint(folders["llama"]).config
    metadata = tokenizer_metadata(rule, texts) | {"tokenizer__ggml__add_bos_token": True}
    path = write_gguf(tmp_path / "m.gguf", config, parameters(folders["llama"]), **metadata)
    checkpoint = open_checkpoint(path)
    assert checkpoint.tokenizer_json is not None
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer_json.decode())
    oracle = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    for text in texts:
        assert tokenizer.encode(text).ids == oracle.encode(text)
    assert checkpoint.chat_template == oracle.chat_template == "{{ messages }}"
    assert checkpoint.tokenizer_config["bos_token"] == oracle.bos_token == "<|endoftext|>"
    assert checkpoint.generation_config == {"bos_token_id": 0, "eos_token_id": 2}


def test_llama3_starts_with_bos_unless_told_otherwise() -> None:
    metadata: Mapping[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["<s>", "a"],
        "tokenizer.ggml.token_type": [3, 1],
        "tokenizer.ggml.bos_token_id": 0,
    }
    for rule, flag, expected in (
        ("llama-bpe", None, [0, 1]),
        ("llama-bpe", False, [1]),
        ("qwen2", None, [1]),
    ):
        told = dict(metadata) | {"tokenizer.ggml.pre": rule}
        if flag is not None:
            told["tokenizer.ggml.add_bos_token"] = flag
        built = tokenizer_json(told, where="")
        assert built is not None
        assert Tokenizer.from_str(built.decode()).encode("a").ids == expected


def test_end_of_turn_ends_a_text(folders: dict[str, Path], tmp_path: Path, write_gguf: Any) -> None:
    config = open_checkpoint(folders["llama"]).config
    ids = {"tokenizer__ggml__eos_token_id": 2, "tokenizer__ggml__eot_token_id": 5}
    path = write_gguf(tmp_path / "m.gguf", config, parameters(folders["llama"]), **ids)
    checkpoint = open_checkpoint(path)
    assert checkpoint.generation_config == {"eos_token_id": [2, 5]}
    assert checkpoint.tokenizer_json is None


def refused(path: Path, kind: type[IngotError], *words: str) -> None:
    with pytest.raises(kind) as caught:
        open_checkpoint(path)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("size", [4, 30, 300, 20_000])
def test_truncated(folders: dict[str, Path], tmp_path: Path, write_gguf: Any, size: int) -> None:
    config = open_checkpoint(folders["qwen2"]).config
    path = write_gguf(tmp_path / "m.gguf", config, parameters(folders["qwen2"]))
    path.write_bytes(path.read_bytes()[:size])
    refused(path, CheckpointError, "m.gguf", "truncated or damaged")


def test_missing_tensor(folders: dict[str, Path], tmp_path: Path, write_gguf: Any) -> None:
    weights = parameters(folders["qwen2"])
    del weights["model.layers.1.mlp.up_proj.weight"]
    config = open_checkpoint(folders["qwen2"]).config
    path = write_gguf(tmp_path / "m.gguf", config, weights)
    refused(path, CheckpointError, "m.gguf", "model.layers.1.mlp.up_proj.weight", "missing")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"split__count": 3}, ["several GGUF files", "--merge"]),
        ({"qwen2__expert_count": 4}, ["mixtures of experts"]),
        ({"qwen2__rope__dimension_count": 8}, ["8 of the 16"]),
        ({"qwen2__rope__scaling__type": "longrope"}, ["'longrope'"]),
        (
            {"tokenizer__ggml__model": "llama", "tokenizer__ggml__tokens": ["a"]},
            ["tokenizer 'llama'"],
        ),
        (
            {
                "tokenizer__ggml__model": "gpt2",
                "tokenizer__ggml__pre": "poro-chat",
                "tokenizer__ggml__tokens": ["a"],
            },
            ["'poro-chat'", "llama-bpe"],
        ),
    ],
)
def test_what_is_not_read_is_refused(
    folders: dict[str, Path],
    tmp_path: Path,
    write_gguf: Any,
    metadata: dict[str, Any],
    words: list[str],
) -> None:
    config = open_checkpoint(folders["qwen2"]).config
    path = write_gguf(tmp_path / "m.gguf", config, parameters(folders["qwen2"]), **metadata)
    refused(path, UnsupportedError, "m.gguf", *words)


def test_unknown_architecture_version_and_type(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    refused(path, UnsupportedError, "'mamba'", "qwen2")
    data = bytearray(path.read_bytes())
    data[4] = 9
    path.write_bytes(data)
    refused(path, UnsupportedError, "version 9")


def test_header_is_that_of_the_gguf_package(smollm2: Path) -> None:
    header, oracle = read_header(smollm2), gguf.GGUFReader(smollm2)
    assert len(header.tensors) == len(oracle.tensors) == 272
    for tensor in oracle.tensors:
        ours = header.tensors[tensor.name]
        assert ours.shape == tuple(reversed(tensor.shape.tolist()))
        assert (ours.kind, ours.offset) == (tensor.tensor_type, tensor.data_offset)
        assert ours.size == tensor.n_bytes
    for key in ("general.name", "llama.rope.freq_base", "tokenizer.ggml.pre"):
        assert header.metadata[key] == oracle.fields[key].contents()
