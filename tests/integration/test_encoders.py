"""Compiled encoders give what transformers' hidden states pool to, alone and in company."""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.models import write_random_checkpoint
from ingot.models.head import Head
from ingot.runtime import LLM
from ingot.runtime.cpu_level import supported_levels
from ingot.runtime.text.pooled_text import Tokens
from ingot.targets import Settings

SMALL = {
    "hidden_size": 60,
    "intermediate_size": 90,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "vocab_size": 131,
    "max_position_embeddings": 128,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
QWEN3 = SMALL | {"num_key_value_heads": 1, "head_dim": 16}
MODERN = SMALL | {
    "num_hidden_layers": 3,
    "global_attn_every_n_layers": 3,
    "local_attention": 16,
    "classifier_pooling": "mean",
}
LENGTHS = (5, 1, 33, 70, 16, 120)
FLOAT32 = Settings(
    linear="none",
    embedding="none",
    dtype="float32",
    kv_dtype="float32",
    levels=supported_levels()[-1:],
)


def sequences(config: Any) -> list[Tokens]:
    """Random tokens, the second half of each of another type where the model tells them apart."""
    random = np.random.default_rng(5)
    types = min(getattr(config, "type_vocab_size", 0) or 1, 2)
    found = []
    for length in LENGTHS:
        ids = random.integers(3, config.vocab_size, length).tolist()
        first = length // 2 if types > 1 else length
        found.append(Tokens(ids, [0] * first + [1] * (length - first)))
    return found


def run(artifact: Path, given: Sequence[Tokens]) -> NDArray[np.float32]:
    """Return the rows of all sequences, each of which has the same bits when it is alone."""
    with LLM(artifact) as model:
        together = model.pooled.run(given)
        alone = np.concatenate([model.pooled.run([one]) for one in given])
    np.testing.assert_array_equal(together, alone)
    return together


def call(model: Any, one: Tokens) -> Any:
    """Return what transformers makes of one sequence."""
    options = {"attention_mask": torch.ones(1, len(one.ids), dtype=torch.long)}
    if "token_type_ids" in inspect.signature(model.forward).parameters:
        options["token_type_ids"] = torch.tensor([one.types])
    with torch.no_grad():
        return model(input_ids=torch.tensor([one.ids]), **options)


def check(found: NDArray[np.float32], expected: Sequence[Tensor]) -> None:
    rows = torch.stack(list(expected)).numpy()
    assert np.abs(found - rows).max() < 1e-4 * np.abs(rows).max()


def write_modules(folder: Path, pooling: str) -> dict[str, Tensor]:
    """Give a checkpoint a pooling, a dense layer and a normalisation; return the layer."""
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")]
    kinds.append(("Normalize", "3_Normalize"))
    listed = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"} for kind, path in kinds
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    for _, path in kinds[1:]:
        (folder / path).mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}))
    tanh = "torch.nn.modules.activation.Tanh"
    dense = {"in_features": 60, "out_features": 24, "bias": True, "activation_function": tanh}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
    generator = torch.Generator().manual_seed(7)
    layer = {
        "linear.weight": torch.randn(24, 60, generator=generator) / 8,
        "linear.bias": torch.randn(24, generator=generator) / 8,
    }
    save_file(layer, folder / "2_Dense" / "model.safetensors")
    return layer


@pytest.mark.parametrize(
    ("kind", "fields", "pooling"),
    [("roberta", SMALL, "mean_tokens"), ("qwen3", QWEN3, "lasttoken")],
)
def test_embeddings(tmp_path: Path, kind: str, fields: dict[str, Any], pooling: str) -> None:
    config = AutoConfig.for_model(kind, **fields)
    folder = write_random_checkpoint(tmp_path / "m", config, head=Head("embed"))
    layer = write_modules(folder, pooling)
    compile_model(folder, tmp_path / "m.ingot", CompileOptions(settings=FLOAT32))
    model = AutoModel.from_pretrained(folder, attn_implementation="eager")

    def expected(one: Tokens) -> Tensor:
        hidden = call(model, one).last_hidden_state[0]
        pooled = hidden[-1] if pooling == "lasttoken" else hidden.mean(0)
        row = torch.tanh(functional.linear(pooled, layer["linear.weight"], layer["linear.bias"]))
        return functional.normalize(row, dim=-1)

    given = sequences(config)
    check(run(tmp_path / "m.ingot", given), [expected(one) for one in given])


@pytest.mark.parametrize(("kind", "fields"), [("bert", SMALL), ("modernbert", MODERN)])
def test_scores_of_cross_encoders(tmp_path: Path, kind: str, fields: dict[str, Any]) -> None:
    config = AutoConfig.for_model(kind, **fields, num_labels=1)
    folder = write_random_checkpoint(tmp_path / "m", config, head=Head("classify"))
    compile_model(folder, tmp_path / "m.ingot", CompileOptions(settings=FLOAT32))
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    given = sequences(config)
    expected = [torch.sigmoid(call(model, one).logits[0]) for one in given]
    check(run(tmp_path / "m.ingot", given), expected)


def test_a_masked_language_model_is_taken_for_its_mean(tmp_path: Path) -> None:
    config = AutoConfig.for_model("distilbert", **_distilbert())
    folder = write_random_checkpoint(tmp_path / "m", config, head=Head("embed"))
    stored = load_file(folder / "model.safetensors")
    head = {"vocab_projector.bias": torch.zeros(131)}
    named = {f"distilbert.{name}": value for name, value in stored.items()}
    save_file(named | head, folder / "model.safetensors")
    fields = json.loads((folder / "config.json").read_text())
    fields["architectures"] = ["DistilBertForMaskedLM"]
    (folder / "config.json").write_text(json.dumps(fields))
    compile_model(folder, tmp_path / "m.ingot", CompileOptions(settings=FLOAT32))
    manifest = json.loads((tmp_path / "m.ingot" / "manifest.json").read_text())
    assert (manifest["task"], manifest["head"]["pooling_assumed"]) == ("embed", True)
    assert manifest["architecture"]["unused_tensors"] == ["vocab_projector.bias"]
    model = AutoModel.from_config(config, attn_implementation="eager")
    model.load_state_dict(stored)
    given = sequences(config)
    found = run(tmp_path / "m.ingot", given)
    check(found, [call(model.eval(), one).last_hidden_state[0].mean(0) for one in given])


def _distilbert() -> dict[str, Any]:
    names = {
        "hidden_size": "dim",
        "intermediate_size": "hidden_dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
    }
    return {names.get(name, name): value for name, value in SMALL.items()}
