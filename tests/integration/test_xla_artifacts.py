"""Artifacts of targets that lower to StableHLO: what they hold, and that nothing in them varies."""

from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from ingot.compiler.driver import CompileOptions, compile_model
from ingot.models.random_checkpoint import write_random_checkpoint
from ingot.runtime.artifact import Artifact
from ingot.targets import Settings
from ingot.targets.xla.compiling import compiler

SIZES: dict[str, Any] = {"decode_batches": (4,), "prefill_tokens": (16,), "kv_pages": 16}
PROGRAMS = ["decode-4.0", "prefill-16.0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "llama"
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        vocab_size=64,
    )
    write_random_checkpoint(path, config)
    return path


def files_of(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def test_the_same_input_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    options = CompileOptions("xla:cpu", Settings(mesh="tp2", **SIZES))
    for name in ("a.ingot", "b.ingot"):
        compile_model(folder, tmp_path / name, options)
    first, second = files_of(tmp_path / "a.ingot"), files_of(tmp_path / "b.ingot")
    assert first == second
    assert [f"targets/xla/{name}.mlir.bc" in first for name in PROGRAMS] == [True, True]
    plan = Artifact.open(tmp_path / "a.ingot").read_json("targets/xla/plan.json")
    assert plan["compiler"]["build"] == ""
    assert all(stage["executable"] is None for step in plan["steps"] for stage in step["stages"])


def test_a_tpu_artifact_has_executables_and_a_second_compile_takes_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
    options = CompileOptions("tpu:v5e-4", Settings(**SIZES))
    report = compile_model(folder, tmp_path / "a.ingot", options)
    artifact = Artifact.open(tmp_path / "a.ingot")
    plan, entry = artifact.read_json("targets/tpu/plan.json"), artifact.manifest["targets"]["tpu"]
    assert (entry["variant"], entry["mesh"], entry["topology"]) == ("v5e-4", "tp4", "v5e:2x2")
    assert "libtpu" in entry["compiler"] and plan["compiler"]["build"] == entry["compiler"]
    stages = [stage for step in plan["steps"] for stage in step["stages"]]
    assert [Path(stage["executable"]).stem for stage in stages] == PROGRAMS
    assert all(len(artifact.read_bytes(stage["executable"])) > 1000 for stage in stages)
    weights = report.devices["stages"][0]["weights"] + report.devices["stages"][0]["kv_cache"]
    for name in PROGRAMS:
        facts = entry["programs"][name]
        assert facts["devices"] == 4
        assert facts["memory"]["arguments"] >= weights
        assert {tuple(one["axes"]) for one in facts["collectives"]} == {("tp",)}

    def refuse(*_: object) -> None:
        raise AssertionError("a program was compiled a second time")

    monkeypatch.setattr(compiler, "WorkerProcess", refuse)
    compile_model(folder, tmp_path / "b.ingot", options)
    assert files_of(tmp_path / "a.ingot") == files_of(tmp_path / "b.ingot")
