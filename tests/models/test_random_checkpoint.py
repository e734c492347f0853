"""Random checkpoints: valid, the same for the same seed, written piece by piece."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer

from ingot.models import (
    open_checkpoint,
    random_checkpoint,
    small_tokenizer,
    write_random_checkpoint,
)

CONFIG = transformers.AutoConfig.for_model(
    "qwen2",
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=300,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=2,
)


def tensors_in(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


def test_shards_hold_the_same_tensors_as_one_file(tmp_path: Path) -> None:
    one = write_random_checkpoint(tmp_path / "one", CONFIG, seed=3)
    many = write_random_checkpoint(tmp_path / "many", CONFIG, seed=3, shard_bytes=50_000)
    other = write_random_checkpoint(tmp_path / "other", CONFIG, seed=4)
    assert len(list(many.glob("*.safetensors"))) > 3
    first, second = tensors_in(one), tensors_in(many)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(
        first["model.embed_tokens.weight"], tensors_in(other)["model.embed_tokens.weight"]
    )
    index = json.loads((many / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in first.values())


def test_large_tensors_are_made_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tensors_in(write_random_checkpoint(tmp_path / "whole", CONFIG))
    made: list[int] = []
    chunks = random_checkpoint._random_chunks

    def watched(parameter, seed):  # type: ignore[no-untyped-def]
        for chunk in chunks(parameter, seed):
            made.append(chunk.numel())
            yield chunk

    monkeypatch.setattr(random_checkpoint, "CHUNK", 1000)
    monkeypatch.setattr(random_checkpoint, "_random_chunks", watched)
    pieces = tensors_in(write_random_checkpoint(tmp_path / "pieces", CONFIG))
    assert max(made) == 1000
    assert {n: t.shape for n, t in pieces.items()} == {n: t.shape for n, t in whole.items()}


def test_logits_keep_a_sensible_size(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "m", CONFIG, dtype=torch.bfloat16)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        logits = model(torch.arange(20).unsqueeze(0)).logits
    assert 0.3 < logits.std() < 3
    assert model.config.dtype == torch.float32
    assert open_checkpoint(folder).weights.info("model.norm.weight").stored == torch.bfloat16


def test_tokenizer_and_chat_template_work(tmp_path: Path, texts: list[str]) -> None:
    tokenizer = small_tokenizer(300, texts)
    folder = write_random_checkpoint(tmp_path / "m", CONFIG, tokenizer=tokenizer)
    ours = Tokenizer.from_str(tokenizer.decode())
    assert ours.get_vocab_size() == 300
    for text in texts:
        assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text
    oracle = transformers.AutoTokenizer.from_pretrained(folder)
    message = [{"role": "user", "content": "Hi"}]
    said = oracle.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    assert said == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
