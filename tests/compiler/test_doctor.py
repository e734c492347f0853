"""What is said of a model before it is compiled."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoConfig

from ingot.compiler.cli.main import main
from ingot.compiler.doctor import examine
from ingot.compiler.doctor_table import format_diagnosis, verdict
from ingot.models import open_checkpoint, write_random_checkpoint
from ingot.models.head import Head

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 64,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
CTRL = {"n_embd": 32, "dff": 48, "n_layer": 2, "n_head": 2, "vocab_size": 64, "n_positions": 256}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 2 layers with its weights."""
    config = AutoConfig.for_model("llama", **SIZES)
    return write_random_checkpoint(tmp_path_factory.mktemp("doctor") / "llama", config)


def configuration(folder: Path, model_type: str, **fields: object) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps({"model_type": model_type, **fields}))
    return file


def test_a_checkpoint_that_compiles(folder: Path) -> None:
    found = examine(folder)
    assert found.compiles and not found.remainders and not found.problems
    assert found.architecture == "llama" and found.task == "generate"
    assert found.raised is not None and found.raised["lm.attention"] == 2
    assert found.stored == {"float32": found.parameters}
    assert "fully raised" in verdict(found)


@pytest.mark.parametrize(
    ("kind", "fields", "head"),
    [
        ("gemma2", {**SIZES, "head_dim": 16}, Head("generate")),
        ("bert", {**SIZES, "type_vocab_size": 2}, Head("embed")),
    ],
)
def test_what_is_computed_is_no_parameter(
    tmp_path: Path, kind: str, fields: dict[str, object], head: Head
) -> None:
    """Frequencies, a scale of the embedding, numbers of positions: whatever they are called."""
    path = write_random_checkpoint(tmp_path, AutoConfig.for_model(kind, **fields), head=head)
    with safe_open(path / "model.safetensors", "pt") as file:
        stored = sum(file.get_tensor(name).numel() for name in file.keys())
    assert open_checkpoint(path).computed
    assert examine(path).parameters == examine(path / "config.json").parameters == stored
    assert set(examine(path).stored or {}) == {"float32"}


def test_a_configuration_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says the same as the checkpoint."""
    assert examine(folder / "config.json").raised == examine(folder).raised
    assert main(["doctor", str(folder / "config.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compiles"] is True


def test_missing_weights_are_named_beside_the_architecture(folder: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    config = AutoConfig.for_model("llama", **{**SIZES, "num_hidden_layers": 1})
    write_random_checkpoint(damaged, config)
    (damaged / "config.json").write_bytes((folder / "config.json").read_bytes())
    found = examine(damaged)
    assert not found.compiles
    assert "model.layers.1" in found.problems[0] and "missing" in found.problems[0]
    assert found.raised is not None and found.raised["lm.attention"] == 2


def test_what_is_refused_is_told_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configuration(tmp_path, "doge", **SIZES)
    assert main(["doctor", str(file)]) == 1
    out = capsys.readouterr().out
    assert "does not compile" in out and "DogeAttention" in out


def test_the_generic_route_is_told_with_counts(tmp_path: Path) -> None:
    """No pattern knows this activation."""
    fields = {**SIZES, "hidden_act": "laplace"}
    found = examine(configuration(tmp_path, "llama", **fields))
    assert found.compiles and found.remainders
    one = found.remainders[0]
    assert one.count == 2 and one.place.startswith("model.layers.*.mlp.act_fn (transformers/")
    assert "generic route" in format_diagnosis(found)


def test_an_unknown_type_is_a_problem(tmp_path: Path) -> None:
    found = examine(configuration(tmp_path, "no-such-model"))
    assert not found.compiles and "no-such-model" in found.problems[0]
