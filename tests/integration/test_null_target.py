"""The null target compiles everything and runs nothing, whatever mesh or target it stands for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import LlamaConfig

from ingot.compiler.cli.main import main
from ingot.compiler.driver import CompileOptions, compile_model
from ingot.compiler.dry_run import plan_model
from ingot.compiler.planning import Request, winner
from ingot.compiler.planning.opening import plan_model as rank_model
from ingot.compiler.stages import quiet
from ingot.models import open_checkpoint
from ingot.models.random_checkpoint import write_random_checkpoint
from ingot.runtime.artifact import Artifact
from ingot.targets import Settings, find_target

KEY = "model.layers.0.self_attn.k_proj.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two KV heads, which eight devices repeat."""
    path = tmp_path_factory.mktemp("models") / "llama"
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=256,
        vocab_size=136,
    )
    write_random_checkpoint(path, config)
    return path


@pytest.fixture(scope="module")
def artifact(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The model on two groups of two devices; QKV left apart, so that parts are seen."""
    path = tmp_path_factory.mktemp("artifacts") / "null.ingot"
    pipeline = (
        "lift,assign-sharding{mesh=dp2xtp2 sequence=false},propagate-sharding,partition,"
        "canonicalize"
    )
    settings = Settings(mesh="dp2xtp2", pipeline=pipeline)
    compile_model(folder, path, CompileOptions("null", settings))
    return Artifact.open(path)


def plan_of(artifact: Artifact) -> Any:
    return artifact.read_json("targets/null/plan.json")


def test_each_distinct_part_of_a_weight_is_written_once(folder: Path, artifact: Artifact) -> None:
    names = [name for name in artifact.weights if name.startswith(KEY)]
    assert names == [f"{KEY}@tp0", f"{KEY}@tp1"]
    whole = open_checkpoint(folder).weights[KEY].numpy()
    for number, name in enumerate(names):
        rows = artifact.weights[name].view(np.float32).reshape(8, 64)
        assert np.array_equal(rows, whole[8 * number : 8 * number + 8])


def test_parameters_name_their_parts(artifact: Artifact) -> None:
    parameters = {one["name"]: one for one in plan_of(artifact)["parameters"]}
    assert parameters[KEY]["parts"] == {"axes": ["tp"], "weights": [f"{KEY}@tp0", f"{KEY}@tp1"]}
    assert parameters[KEY]["shape"] == [8, 64]


def test_there_are_steps_and_no_programs(artifact: Artifact) -> None:
    plan = plan_of(artifact)
    assert [step["tokens"] for step in plan["steps"]] == [1, 8, 32, 256]
    assert all(step["stages"] == [] for step in plan["steps"])
    assert plan["mesh"] == "dp2xtp2" and plan["limits"]["num_pages"] == 2 * 8 * 16


def test_running_says_that_there_is_no_program(
    artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(artifact.path), "hello"]) == 1
    said = capsys.readouterr().err
    assert "compiled for the target null, so it has no program to run" in said
    assert len(said.splitlines()) == 2


def test_inspect_tells_of_the_devices(
    artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(artifact.path)]) == 0
    assert "target        null, mesh dp2xtp2, 4 devices" in capsys.readouterr().out
    assert main(["inspect", "--json", str(artifact.path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["targets"]["null"]["mesh"] == "dp2xtp2" and facts["devices"]["count"] == 4


def test_a_dry_run_needs_no_compiler_of_the_target(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something was lowered or compiled")

    monkeypatch.setattr("ingot.targets.xla.lowering.lower_step", refuse)
    planned = plan_model(folder, CompileOptions("tpu:v5e-8"))
    stand_in = plan_model(folder, CompileOptions("null:tpu:v5e-8"))
    assert planned.devices["mesh"] == "tp8" and planned.devices["target"] == "tpu:v5e-8"
    assert planned.kinds == stand_in.kinds
    assert planned.devices["stages"] == stand_in.devices["stages"]


def test_a_mesh_that_does_not_divide_the_model_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["compile", str(folder), "--target", "null", "--mesh", "tp3", "--dry-run"])
    assert code == 2
    *_, message, hint = capsys.readouterr().err.splitlines()
    assert "cannot divide 8 attention heads among 3 devices along tp" in message
    assert hint == "  Sizes of tp that divide this model: 2, 4, 8."


def test_auto_takes_the_mesh_that_the_planner_ranks_first(folder: Path) -> None:
    target = "null:tpu:v5e-4"
    planned = plan_model(folder, CompileOptions(target, Settings(mesh="auto", context=64)))
    request = Request(context=64, encodings=("auto",))
    ranked = rank_model(folder, find_target(target), request, quiet, compiles=False)
    assert planned.devices["mesh"] == str(winner(ranked).mesh)
    assert planned.devices["count"] == 4
