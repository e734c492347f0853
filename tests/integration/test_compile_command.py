"""`ingot compile` gives the same bytes for the same input, and one message for a bad one."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.compiler.cli.main import main
from ingot.runtime._native import CodeObject
from ingot.runtime.artifact import Artifact

OPTIONS = ["--quantize", "int4-g32", "--levels", "generic,native", "--no-measure"]


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_two_compiles_give_the_same_bytes(
    small_model: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model("qwen2")
    first, second = tmp_path / "first.ingot", tmp_path / "elsewhere" / "second.ingot"
    second.parent.mkdir()
    moved = shutil.copytree(model.folder, tmp_path / "copy" / model.folder.name)
    assert main(["compile", str(model.folder), "-o", str(first), *OPTIONS]) == 0
    # Another process, place and working folder: none of them may show in the artifact.
    command = [sys.executable, "-m", "ingot.compiler.cli.main", "compile", str(moved)]
    command += ["-o", str(second), *OPTIONS]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    assert files_of(first) == files_of(second)
    table = capsys.readouterr().out
    assert "int4-g32" in table and "bits/weight" in table

    assert main(["inspect", str(first), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    kinds = {kind["name"]: kind for kind in facts["report"]["kinds"]}
    assert kinds["model.embed_tokens.weight"]["encoding"] == "int8"
    assert "lm_head.weight" not in kinds, "a tied table is held once"
    assert facts["encodings"]["kept_without_loss"] is False
    assert set(facts["kernels"]) == set(facts["targets"]["cpu"]["levels"])
    for level, kernels in facts["kernels"].items():
        linked = CodeObject((first / f"targets/cpu/kernels-{level}.o").read_bytes())
        assert kernels["count"] == len(linked.functions) > 0, level
    assert main(["inspect", str(first)]) == 0
    assert "the checkpoint stores floats" in capsys.readouterr().out


def missing_shard(folder: Path) -> None:
    index = {"weight_map": {"model.embed_tokens.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    os.truncate(file, file.stat().st_size // 2)


def no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def edited(**fields: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | fields))

    return edit


BAD_CHECKPOINTS = {
    "missing shard": (missing_shard, "model-00001-of-00002.safetensors"),
    "truncated": (truncated, "model.safetensors"),
    "pickle only": (no_safetensors, "pickle"),
    "wrong shape": (edited(intermediate_size=104), "mlp"),
    "unknown architecture": (edited(model_type="perceptron"), "perceptron"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "config.json"),
    "broken configuration": (lambda folder: (folder / "config.json").write_text("{"), "config"),
}


@pytest.mark.parametrize("case", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_one_message(
    small_model: Callable[[str], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    damage, named = BAD_CHECKPOINTS[case]
    folder = shutil.copytree(small_model("qwen2").folder, tmp_path / "model")
    damage(folder)
    assert main(["compile", str(folder), "-o", str(tmp_path / "out.ingot"), *OPTIONS]) == 1
    message = capsys.readouterr().err.splitlines()
    problem = [line for line in message if line.startswith("ingot: ")]
    assert len(problem) == 1 and "Traceback" not in "\n".join(message)
    assert named in "\n".join(message)
    assert os.listdir(tmp_path) == ["model"], "something half-written was left"


@pytest.mark.parametrize(
    "options",
    [
        ["--quantize", "int3"],
        ["--override", "*.nothing=int8"],
        ["--override", "nothing"],
        ["--levels", "avx1024"],
        ["--target", "abacus"],
        ["--embedding", "int8-act"],
    ],
)
def test_a_wrong_option_is_a_usage_error(
    small_model: Callable[[str], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    output = tmp_path / "out.ingot"
    assert main(["compile", str(small_model("qwen2").folder), "-o", str(output), *options]) == 2
    assert capsys.readouterr().err.count("ingot: ") == 1
    assert os.listdir(tmp_path) == []


def test_a_missing_model_and_a_taken_name(
    small_model: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "thesis"
    assert main(["compile", str(tmp_path / "no-model"), "-o", str(output)]) == 1
    output.mkdir()
    (output / "chapter").write_text("precious")
    assert main(["compile", str(small_model("qwen2").folder), "-o", str(output)]) == 2
    assert "is not an artifact" in capsys.readouterr().err
    assert (output / "chapter").read_text() == "precious"


def test_a_full_disk_is_one_message_and_leaves_nothing(
    small_model: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compile", str(small_model("gpt2").folder), "-o", str(tmp_path / "out.ingot")]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        assert main([*arguments, *OPTIONS]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "the disk is full" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_an_interrupted_compile_leaves_nothing(
    small_model: Callable[[str], Any], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "ingot.compiler.cli.main", "compile"]
    command += [str(small_model("gpt2").folder), "-o", str(tmp_path / "out.ingot"), *OPTIONS]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip() == "kernels":
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert os.listdir(tmp_path) == []


def test_a_damaged_artifact_is_one_message(
    compiled: Callable[..., Any],
    float32: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    artifact = shutil.copytree(compiled("gpt2", float32).artifact, tmp_path / "m.ingot")
    Artifact.open(artifact)
    with (artifact / "weights.safetensors").open("r+b") as file:
        file.seek(-70, os.SEEK_END)
        byte = file.read(1)
        file.seek(-70, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    for command in ("inspect", "run", "evaluate"):
        assert main([command, str(artifact)]) == 1
        message = capsys.readouterr().err
        assert message.count("ingot: ") == 1 and "weights.safetensors" in message


def test_inspect_needs_neither_torch_nor_mlir(compiled: Callable[..., Any], float32: Any) -> None:
    script = (
        "import sys; from ingot.compiler.cli.main import main;"
        f"code = main(['inspect', {str(compiled('gpt2', float32).artifact)!r}]);"
        "loaded = {'torch', 'torch_mlir', 'transformers'} & set(sys.modules);"
        "sys.exit(f'loaded {loaded}' if loaded else code)"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
