"""`ingot bisect` names where two sides part, and which weights cost the most."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from ingot.compiler.cli.main import main
from ingot.compiler.driver import CompileOptions, compile_model
from ingot.compiler.stages import open_front
from ingot.ir import Module, RmsNorm, before, source_of
from ingot.models import write_random_checkpoint
from ingot.models.head import Head
from ingot.passes import parse_pipeline, replace
from ingot.targets import Settings

Captured = pytest.CaptureFixture[str]
DOWN = "model.layers.1.mlp.down_proj.weight"
ENCODER = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 11,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def folder(small_model: Callable[[str], Any]) -> Path:
    path: Path = small_model("llama").folder
    return path


@pytest.fixture(scope="module")
def raised(folder: Path) -> Module:
    module = open_front(folder, CompileOptions()).module
    parse_pipeline("raise").run(module)
    return module


def written(module: Module, path: Path) -> str:
    path.write_text(module.text(locations=True))
    return str(path)


def bisected(capsys: Captured, *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["bisect", *words, "--json"])
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, result


def test_two_pipelines_that_agree(raised: Module, tmp_path: Path, capsys: Captured) -> None:
    fused = raised.clone()
    parse_pipeline("merge-linears,fuse-norms").run(fused)
    sides = written(fused, tmp_path / "fused.mlir"), written(raised, tmp_path / "raised.mlir")
    code, result = bisected(capsys, sides[0], "--against", sides[1], "--tolerance", "1e-9")
    assert code == 0 and result["logits"] < 1e-12 and not result["diverges"]
    assert max(row["error"] for row in result["operations"]) < 1e-12
    assert result["native"] is None and result["weights"] == []


def test_the_first_operation_that_diverges(
    raised: Module, folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    wrong, place = raised.clone(), "model.layers.1.input_layernorm"
    for op in list(wrong.step.entry_block.operations):
        if isinstance(op, RmsNorm) and source_of(op.location).module == place:
            with before(op):
                replace(op, RmsNorm(op.x, op.w, eps=0.1).out)
    path = written(wrong, tmp_path / "wrong.mlir")
    code, result = bisected(capsys, path, "--against", str(folder), "--tolerance", "1e-3")
    assert code == 1 and result["diverges"]
    (row,) = [row for row in result["operations"] if row["number"] == result["culprit"]]
    assert (row["operation"], row["module"]) == ("lm.rms_norm", place)
    assert row["place"].startswith("transformers/models/llama/modeling_llama.py:")
    assert main(["bisect", path, "--against", str(folder), "--tolerance", "1e-3"]) == 1
    said = capsys.readouterr().out
    assert f"first operation that diverges: lm.rms_norm, {place} (transformers/" in said


def test_an_artifact_against_its_checkpoint(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    """One weight has 4 bits, all others 8: it is found to cost the most."""
    settings = Settings(
        linear="int8", embedding="int8", overrides=(f"{DOWN}=int4-g128",), levels=("generic",)
    )
    artifact = tmp_path / "m.ingot"
    compile_model(folder, artifact, CompileOptions(settings=settings))
    words = [str(artifact), "--against", str(folder), "--tolerance", "0.9"]
    code, result = bisected(capsys, *words, "--rank", "3")
    assert code == 0, "within such a tolerance"
    assert 0.001 < result["logits"] < 0.5 and result["native"] < 0.05
    costliest = result["weights"][0]
    assert costliest["symbols"] == [DOWN] and len(result["weights"]) == 3
    assert costliest["gain"] > 0.3 * result["logits"]
    assert costliest["error_without"] < result["logits"]


def test_a_model_that_pools(tmp_path: Path, capsys: Captured) -> None:
    """Its rows have more features than there are tokens, so they say nothing of those."""
    config = AutoConfig.for_model("bert", **ENCODER)
    folder = write_random_checkpoint(tmp_path / "m", config, head=Head("embed"))
    path = written(open_front(folder, CompileOptions()).module, tmp_path / "imported.mlir")
    code, result = bisected(capsys, path, "--against", str(folder), "--tolerance", "1e-9")
    assert code == 0 and len(result["operations"]) > 5
    assert main(["opt", path, "--pipeline", "raise", "--verify-passes", "-o", "/dev/null"]) == 0
    assert "contracts of the passes, all kept" in capsys.readouterr().err


def test_what_cannot_be_compared(raised: Module, tmp_path: Path, capsys: Captured) -> None:
    path = written(raised, tmp_path / "m.mlir")
    assert main(["bisect", str(tmp_path / "none.mlir"), "--against", path]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
    binary = tmp_path / "weights.bin"
    binary.write_bytes(b"\x80\xff\x00")
    assert main(["bisect", path, "--against", str(binary)]) == 2
    said = capsys.readouterr().err
    assert f"{binary}: is neither MLIR text nor MLIR bytecode" in said
    assert "Give an artifact, a checkpoint, or a file of the IR." in said
