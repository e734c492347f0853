"""The built-in model against transformers' own way of reading the same file."""

from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from ingot.ir import Encoding, QuantTensor
from ingot.models import Checkpoint, open_checkpoint


@pytest.fixture(scope="module")
def checkpoint(smollm2: Path) -> Checkpoint:
    return open_checkpoint(smollm2)


def test_config(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    assert (config.model_type, config.num_hidden_layers, config.hidden_size) == ("llama", 30, 576)
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (9, 3, 64)
    assert (config.rms_norm_eps, config.rope_parameters["rope_theta"]) == (1e-5, 1e5)
    assert config.tie_word_embeddings
    assert checkpoint.unused == ()
    assert checkpoint.generation_config["eos_token_id"] == 2


def test_tokenizer_is_that_of_transformers(
    smollm2: Path, checkpoint: Checkpoint, texts: list[str]
) -> None:
    assert checkpoint.tokenizer_json is not None
    ours = Tokenizer.from_str(checkpoint.tokenizer_json.decode())
    oracle = transformers.AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)
    for text in texts:
        ids = ours.encode(text).ids
        assert ids == oracle.encode(text)
        assert ours.decode(ids, skip_special_tokens=False) == oracle.decode(ids)
    assert checkpoint.chat_template == oracle.chat_template
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        assert checkpoint.tokenizer_config[name] == getattr(oracle, name)


def test_weights_are_those_of_transformers(smollm2: Path, checkpoint: Checkpoint) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(
        smollm2.parent, gguf_file=smollm2.name, dtype=torch.float32
    )
    assert set(model.state_dict()) <= set(checkpoint.weights)
    for name, expected in model.state_dict().items():
        value = checkpoint.weights[name]
        found = value.dequantize() if isinstance(value, QuantTensor) else value
        assert torch.equal(found, expected), name


def test_blocks_are_kept_as_stored(checkpoint: Checkpoint) -> None:
    stored = [checkpoint.weights.info(name).stored for name in checkpoint.weights]
    assert stored.count(Encoding.parse("int4-g32-min")) == 210
    assert checkpoint.weights.info("lm_head.weight").stored == Encoding.parse("int8-g32")
