"""What follows the transformer, as the files of a checkpoint say it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, PretrainedConfig, masking_utils
from transformers.models.gemma3.modeling_gemma3 import _bidirectional_window_overlay

from ingot.errors import CheckpointError, UnsupportedError
from ingot.models import open_checkpoint, write_random_checkpoint
from ingot.models.architecture import build_architecture
from ingot.models.head import Dense, Head, task_of
from ingot.models.sentence_modules import read_head
from ingot.models.tracing.encoder import classifier_pooling, position_offset
from ingot.models.tracing.seams import masks

BERT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}


def config(kind: str = "bert", **changes: Any) -> PretrainedConfig:
    return AutoConfig.for_model(kind, **BERT | changes)


def write(file: Path, value: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def modules(folder: Path, *named: tuple[str, str, dict[str, Any]]) -> None:
    """Write modules.json with the transformer and the modules (type, folder, configuration)."""
    listed = [("Transformer", "", {}), *named]
    package = "sentence_transformers.models"
    write(
        folder / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"{package}.{kind}"}
            for index, (kind, path, _) in enumerate(listed)
        ],
    )
    for _, path, fields in named:
        write(folder / path / "config.json", fields)


MEAN = ("Pooling", "1_Pooling", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
DENSE = {"in_features": 32, "out_features": 16, "bias": True}


@pytest.mark.parametrize(
    ("fields", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["mean"]}, "mean"),
    ],
)
def test_pooling_modes(tmp_path: Path, fields: dict[str, Any], pooling: str) -> None:
    modules(tmp_path, ("Pooling", "1_Pooling", fields))
    head = read_head(tmp_path, config())
    assert (head.task, head.pooling, head.assumed, head.normalize) == (
        "embed",
        pooling,
        False,
        False,
    )


def test_layers_and_the_preparation_of_texts(tmp_path: Path) -> None:
    activation = "torch.nn.modules.activation.Tanh"
    modules(
        tmp_path,
        MEAN,
        ("Dense", "2_Dense", DENSE | {"activation_function": activation}),
        ("Normalize", "3_Normalize", {}),
    )
    write(tmp_path / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": True})
    write(
        tmp_path / "config_sentence_transformers.json",
        {"prompts": {"query": "Q: "}, "default_prompt_name": "query", "similarity_fn_name": "dot"},
    )
    assert read_head(tmp_path, config()) == Head(
        task="embed",
        pooling="mean",
        dense=(Dense("2_Dense", 32, 16, True, "tanh"),),
        normalize=True,
        max_tokens=20,
        lower_case=True,
        prompts={"query": "Q: "},
        default_prompt="query",
        similarity="dot",
    )


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (("Pooling", "1_Pooling", {"pooling_mode_weightedmean_tokens": True}), "weightedmean"),
        (("Pooling", "1_Pooling", {}), "of no kind"),
        (("CNN", "1_CNN", {}), "module CNN is not known"),
        (("Dense", "1_Dense", DENSE | {"activation_function": "a.Softsign"}), "Softsign"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, module: Any, says: str) -> None:
    modules(tmp_path, module)
    with pytest.raises(UnsupportedError, match=says):
        read_head(tmp_path, config())


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "modules.json", {"a": 1})
    with pytest.raises(CheckpointError, match="no list of modules"):
        read_head(tmp_path, config())
    modules(tmp_path, ("Dense", "1_Dense", {"in_features": 32}))
    with pytest.raises(CheckpointError, match="out_features"):
        read_head(tmp_path, config())


@pytest.mark.parametrize(
    ("name", "kind", "task"),
    [
        ("BertModel", "bert", "embed"),
        ("BertForMaskedLM", "bert", "embed"),
        ("BertForSequenceClassification", "bert", "classify"),
        ("BertLMHeadModel", "bert", "generate"),
        ("DistilBertModel", "distilbert", "embed"),
        ("Qwen3ForCausalLM", "qwen3", "generate"),
        ("Qwen3Model", "qwen3", "generate"),
        ("Qwen3ForSequenceClassification", "qwen3", "classify"),
        (None, "roberta", "embed"),
        (None, "llama", "generate"),
    ],
)
def test_the_task_of_an_architecture(name: str | None, kind: str, task: str) -> None:
    made = config(kind)
    made.architectures = [name] if name else None
    assert task_of(made) == task


def test_a_head_that_is_not_known_is_refused() -> None:
    made = config()
    made.architectures = ["BertForTokenClassification"]
    with pytest.raises(UnsupportedError, match="BertForTokenClassification"):
        task_of(made)


@pytest.mark.parametrize(
    ("labels", "settings", "activation"),
    [
        (1, None, "sigmoid"),
        (3, None, "identity"),
        (1, {"activation_fn": "torch.nn.modules.linear.Identity"}, "identity"),
    ],
)
def test_the_activation_of_scores(
    tmp_path: Path, labels: int, settings: Any, activation: str
) -> None:
    made = config(num_labels=labels)
    made.architectures = ["BertForSequenceClassification"]
    made.sentence_transformers = settings
    assert read_head(tmp_path, made).activation == activation


def test_positions_and_classifiers_of_architectures() -> None:
    assert position_offset(build_architecture(config(), Head("embed"))) == 0
    roberta = build_architecture(config("roberta", pad_token_id=1), Head("embed"))
    assert position_offset(roberta) == 2
    for kind, pooling in (("bert", "cls"), ("qwen3", "last")):
        model = build_architecture(config(kind), Head("classify"))
        assert classifier_pooling(model) == pooling
    modern = config("modernbert", classifier_pooling="mean", layer_types=["full_attention"])
    assert classifier_pooling(build_architecture(modern, Head("classify"))) == "mean"


def test_weights_of_layers_and_names_of_old(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "m", config(), head=Head("embed"))
    first = open_checkpoint(folder)
    assert first.head.assumed
    stored = {name: first.weights[name].clone() for name in first.weights}
    renamed = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma"): stored[name]
        for name in stored
        if "position_ids" not in name and "token_type_ids" not in name
    }
    save_file(renamed, folder / "model.safetensors")
    modules(folder, MEAN, ("Dense", "2_Dense", DENSE))
    with pytest.raises(CheckpointError, match="not there as safetensors"):
        open_checkpoint(folder)
    layer = {"linear.weight": torch.ones(16, 32), "linear.bias": torch.zeros(16)}
    save_file(layer, folder / "2_Dense" / "model.safetensors")
    checkpoint = open_checkpoint(folder)
    assert torch.equal(checkpoint.weights["2_Dense.linear.weight"], layer["linear.weight"])
    name = "embeddings.LayerNorm.weight"
    assert torch.equal(checkpoint.weights[name], stored[name])
    assert checkpoint.unused == ()
    assert "modules.json" in checkpoint.sources


def test_masks_in_both_directions() -> None:
    """Of a decoder that was made an encoder: all that a causal mask shows, and what follows."""
    everything = masking_utils.or_masks(masking_utils.causal_mask_function, lambda *args: True)
    assert masks.recognised(everything) == masks.Sight()
    near = _bidirectional_window_overlay(5)
    assert masks.recognised(near) == masks.Sight(window=5)
    causal = masking_utils.and_masks(
        masking_utils.causal_mask_function, masking_utils.sliding_window_overlay(5)
    )
    assert masks.recognised(masking_utils.or_masks(causal, near)) == masks.Sight(window=5)
    narrow = _bidirectional_window_overlay(3)
    assert masks.recognised(masking_utils.or_masks(causal, narrow)) is None
