"""Hugging Face folders: what is read, and what each kind of damage is answered with."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoConfig

from ingot.errors import CheckpointError, IngotError, UnsupportedError
from ingot.models import open_checkpoint, small_tokenizer, write_random_checkpoint


def edit_json(file: Path, **changes: Any) -> None:
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in (fields | changes).items() if v is not None}))


def rewrite(folder: Path, name: str, tensor: torch.Tensor | None) -> Path:
    """Put another tensor in the place of one, or take it away; returns its shard."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shard = folder / index["weight_map"][name]
    tensors = load_file(shard)
    del tensors[name]
    save_file(tensors | ({} if tensor is None else {name: tensor}), shard)
    return shard


def test_every_architecture_opens(folders: dict[str, Path]) -> None:
    for name, folder in folders.items():
        checkpoint = open_checkpoint(folder)
        stored = load_file(folder / "model.safetensors")
        assert checkpoint.config.model_type == name == checkpoint.name
        assert checkpoint.unused == ()
        for key, value in stored.items():
            assert torch.equal(checkpoint.weights[key], value)
            info = checkpoint.weights.info(key)
            assert (info.shape, info.stored) == (tuple(value.shape), value.dtype)


def test_sharded_weights_are_those_of_transformers(llama: Path) -> None:
    assert len(list(llama.glob("*.safetensors"))) > 2
    checkpoint = open_checkpoint(llama)
    model = transformers.AutoModelForCausalLM.from_pretrained(llama)
    for name, parameter in model.named_parameters():
        assert torch.equal(checkpoint.weights[name], parameter)


def test_tied_weights_are_one(folders: dict[str, Path]) -> None:
    checkpoint = open_checkpoint(folders["qwen2"])
    assert checkpoint.tied == {"lm_head.weight": "model.embed_tokens.weight"}
    assert checkpoint.symbol("lm_head.weight") == "model.embed_tokens.weight"
    assert torch.equal(
        checkpoint.weights["lm_head.weight"], checkpoint.weights["model.embed_tokens.weight"]
    )


def test_rotary_frequencies_follow_the_scaling(folders: dict[str, Path]) -> None:
    checkpoint = open_checkpoint(folders["llama"])
    model = transformers.AutoModelForCausalLM.from_pretrained(folders["llama"])
    assert torch.equal(
        checkpoint.weights["model.rotary_emb.inv_freq"], model.model.rotary_emb.inv_freq
    )


def test_a_write_to_a_tensor_does_not_reach_the_file(llama: Path) -> None:
    checkpoint = open_checkpoint(llama)
    tensor = checkpoint.weights["model.norm.weight"]
    assert isinstance(tensor, torch.Tensor)
    before = tensor.clone()
    tensor.zero_()
    assert torch.equal(checkpoint.weights["model.norm.weight"], before)


def test_body_alone_without_prefix(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["gpt2"], tmp_path / "body")
    file = tmp_path / "body" / "model.safetensors"
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(file).items()}
    save_file(tensors | {"h.0.attn.masked_bias": torch.zeros(())}, file)
    checkpoint = open_checkpoint(tmp_path / "body")
    assert torch.equal(checkpoint.weights["transformer.wte.weight"], tensors["wte.weight"])
    assert checkpoint.unused == ("h.0.attn.masked_bias",)


def test_tokenizer_template_and_sources(tmp_path: Path) -> None:
    tokenizer = small_tokenizer(300, ["some text to learn from, some text to learn"])
    config = AutoConfig.for_model("gpt2", n_embd=32, n_layer=1, n_head=2, vocab_size=300)
    folder = write_random_checkpoint(tmp_path / "m", config, tokenizer=tokenizer)
    checkpoint = open_checkpoint(folder)
    assert checkpoint.tokenizer_json == tokenizer
    assert checkpoint.tokenizer_config["eos_token"] == "<|im_end|>"
    assert checkpoint.chat_template == (folder / "chat_template.jinja").read_text()
    assert set(checkpoint.sources) == {file.name for file in folder.iterdir()}
    weights = (folder / "model.safetensors").read_bytes()
    assert checkpoint.sources["model.safetensors"] == hashlib.sha256(weights).hexdigest()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("one", "one"),
        ([{"name": "tool", "template": "a"}, {"name": "default", "template": "b"}], "b"),
        ([{"name": "tool", "template": "a"}], "a"),
        (None, None),
    ],
)
def test_chat_template_in_the_tokenizer_config(
    llama: Path, template: object, expected: str | None
) -> None:
    (llama / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    assert open_checkpoint(llama).chat_template == expected


def test_an_older_tokenizer_is_converted(tmp_path: Path, texts: list[str]) -> None:
    config = AutoConfig.for_model("gpt2", n_embd=32, n_layer=1, n_head=2, vocab_size=300)
    folder = write_random_checkpoint(tmp_path / "m", config)
    expected = Tokenizer.from_str(small_tokenizer(300, texts).decode())
    expected.model.save(str(folder))
    assert {"vocab.json", "merges.txt"} <= {file.name for file in folder.iterdir()}
    checkpoint = open_checkpoint(folder)
    assert {"vocab.json", "merges.txt"} <= set(checkpoint.sources)
    assert checkpoint.tokenizer_json is not None
    found = Tokenizer.from_str(checkpoint.tokenizer_json.decode())
    for text in texts:
        if "<|" not in text:
            assert found.encode(text).ids == expected.encode(text).ids


def test_a_tokenizer_that_cannot_be_converted(llama: Path) -> None:
    (llama / "tokenizer.model").write_bytes(b"\x0anonsense")
    refused(llama, UnsupportedError, "tokenizer.model", "cannot be converted")


def test_no_tokenizer_is_no_error(llama: Path) -> None:
    checkpoint = open_checkpoint(llama)
    assert checkpoint.tokenizer_json is None
    assert checkpoint.tokenizer_config == {}


def refused(path: Path, kind: type[IngotError], *words: str) -> None:
    """The error names everything in `words`, and says what to do."""
    with pytest.raises(kind) as caught:
        open_checkpoint(path)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.hint


def test_missing_path(tmp_path: Path) -> None:
    refused(tmp_path / "none", CheckpointError, "none", "no such file")


def test_other_file(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07")
    refused(tmp_path / "model.onnx", CheckpointError, "model.onnx", "not a GGUF file")


def test_no_config(llama: Path) -> None:
    (llama / "config.json").unlink()
    refused(llama, CheckpointError, "no config.json")


def test_malformed_config(llama: Path) -> None:
    (llama / "config.json").write_text("{")
    refused(llama, CheckpointError, "config.json", "cannot be read")


def test_config_that_fits_nothing(llama: Path) -> None:
    edit_json(llama / "config.json", num_attention_heads="four")
    refused(llama, CheckpointError, "config.json", "num_attention_heads")


def test_unknown_architecture(llama: Path) -> None:
    edit_json(llama / "config.json", model_type="llamb", auto_map={"AutoConfig": "code.Config"})
    refused(
        llama, UnsupportedError, "'llamb'", transformers.__version__, "code in the model's folder"
    )


def test_architecture_of_another_kind(llama: Path) -> None:
    edit_json(llama / "config.json", model_type="vit")
    refused(llama, UnsupportedError, "'vit'", "not a causal language model")


def test_quantised_by_another_tool(llama: Path) -> None:
    edit_json(llama / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    refused(llama, UnsupportedError, "config.json", "'gptq'")


def test_pickle_only(llama: Path) -> None:
    for file in llama.glob("model*"):
        file.unlink()
    (llama / "pytorch_model.bin").write_bytes(b"\x80\x02")
    refused(llama, CheckpointError, "pytorch_model.bin", "pickle")


def test_no_weights(llama: Path) -> None:
    for file in llama.glob("model*"):
        file.unlink()
    refused(llama, CheckpointError, "model.safetensors")


def test_missing_shard(llama: Path) -> None:
    shard = sorted(llama.glob("*.safetensors"))[1]
    shard.unlink()
    refused(llama, CheckpointError, shard.name, "missing", "model.")


def test_shard_outside_of_the_folder(llama: Path) -> None:
    edit_json(llama / "model.safetensors.index.json", weight_map={"a": "../a.safetensors"})
    refused(llama, CheckpointError, "../a.safetensors", "outside")


def test_index_without_map(llama: Path) -> None:
    edit_json(llama / "model.safetensors.index.json", weight_map=None)
    refused(llama, CheckpointError, "index.json", "weight_map")


@pytest.mark.parametrize("size", [0, 5, 100, 20_000])
def test_truncated_file(llama: Path, size: int) -> None:
    shard = sorted(llama.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:size])
    refused(llama, CheckpointError, shard.name, "truncated or damaged")


def test_header_of_nonsense(llama: Path) -> None:
    shard = sorted(llama.glob("*.safetensors"))[0]
    shard.write_bytes((8).to_bytes(8, "little") + b"not json")
    refused(llama, CheckpointError, shard.name, "damaged")


def test_header_that_contradicts_itself(llama: Path) -> None:
    shard = sorted(llama.glob("*.safetensors"))[0]
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 4]}}).encode()
    shard.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    refused(llama, CheckpointError, shard.name, "'a'", "4 bytes")


def test_wrong_shape(llama: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    rewrite(llama, name, torch.zeros(96, 63))
    refused(llama, CheckpointError, str(llama), name, "[96, 63]", "[96, 64]")


def test_missing_weight(llama: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    rewrite(llama, name, None)
    refused(llama, CheckpointError, str(llama), name, "missing")


def test_integers_in_the_place_of_a_weight(llama: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    rewrite(llama, name, torch.zeros(96, 64, dtype=torch.int32))
    refused(llama, UnsupportedError, name, "int32")
