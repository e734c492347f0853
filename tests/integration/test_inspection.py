"""What `ingot compile` and `ingot opt` show of the passes, and what the artifact keeps of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingot.compiler.cli.main import main
from ingot.compiler.records import CheckRecord
from ingot.errors import UsageError

Captured = pytest.CaptureFixture[str]
QUICK = ("--levels", "generic", "--no-measure")


@pytest.fixture
def folder(small_model: Callable[[str], Any]) -> str:
    return str(small_model("qwen2").folder)


@pytest.fixture(scope="module")
def imported(small_model: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("imported") / "import.mlirbc"
    options = ["--stop-after", "import", "--emit", "bytecode", "--output", str(path)]
    assert main(["compile", str(small_model("qwen2").folder), *options]) == 0
    return str(path)


def test_a_verified_artifact_carries_its_proof(
    folder: str, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "m.ingot"
    command = ["compile", folder, "--output", str(out), *QUICK, "--verify-passes", "--time-passes"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "contracts of the passes, all kept" in said and "all passes" in said
    stages = said.partition("// ---- seconds of the stages ----\n")[2].splitlines()
    names = ["stage", "open", "import", "passes", "lower", "kernels", "write"]
    assert [line.split()[-1] for line in stages] == names
    assert all(float(number) >= 0 for line in stages[1:] for number in line.split()[:-1])
    manifest = json.loads((out / "manifest.json").read_text())
    checks = [CheckRecord.from_json(entry) for entry in manifest["verification"]]
    assert ",".join(check.step for check in checks) == manifest["pipeline"]
    assert all(check.passed for check in checks)
    quantize = next(entry for entry in manifest["passes"] if entry["name"] == "quantize")
    assert quantize["options"]["linear"] == "int4-g32" and "lossy" in quantize["contract"]
    assert main(["inspect", str(out)]) == 0
    count = len(checks)
    assert (
        f"verified      {count} of {count} passes kept their contracts" in capsys.readouterr().out
    )


def test_a_compile_stops_where_it_is_told(folder: str, capsys: Captured) -> None:
    assert main(["compile", folder, "--stop-after", "raise", "--emit", "readable"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("step(%tokens") and "%gate_proj.0 = lm.linear" in printed
    assert "quantize" not in printed
    assert main(["compile", folder, "--stop-after", "lower"]) == 0
    assert json.loads(capsys.readouterr().out)["launches"]


def test_modules_and_changes_are_printed(imported: str, capsys: Captured) -> None:
    command = ["opt", imported, "--pipeline", "raise,canonicalize,fuse-norms"]
    shown = ["--print-before", "--print-after=fuse-norms", "--print-changes", "--locations"]
    assert main([*command, *shown, "--emit", "bytecode", "-o", "/dev/null"]) == 0
    said = capsys.readouterr().err
    assert [said.count(f"---- before {name} ----") for name in ("raise", "fuse-norms")] == [1, 1]
    assert "---- after raise" not in said and said.count("---- after fuse-norms ----") == 1
    assert "nothing changed by canonicalize" in said and "+++ after fuse-norms" in said
    last = said[said.index("---- after fuse-norms") :]
    assert "// model.layers.0.mlp.down_proj (transformers/" in last


@pytest.mark.parametrize("form", ["generic", "text"])
def test_modules_are_printed_in_the_form_asked_for(
    imported: str, capsys: Captured, form: str
) -> None:
    """Both are names of MLIR's own form."""
    command = ["opt", imported, "--pipeline", "raise", "--print-after", "-o", "/dev/null"]
    assert main([*command, "--emit", form]) == 0
    said = capsys.readouterr().err
    assert "---- after raise ----" in said and "func.func @step" in said
    assert "%gate_proj.0" not in said


@pytest.mark.parametrize(
    ("level", "expected", "absent"),
    [
        ("1", "all passes", "-> 0"),
        ("2", "lm.attention: 0 -> 3", "+++ after"),
        ("3", "+++ after raise", "---- after raise"),
        ("4", "---- after raise ----\nstep(%tokens", "func.func"),
        ("5", "func.func @step", "%gate_proj.0"),
    ],
)
def test_the_debug_ladder(
    imported: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch,
    level: str, expected: str, absent: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("INGOT_DEBUG", level)
    assert main(["opt", imported, "--pipeline", "raise", "-o", "/dev/null"]) == 0
    said = capsys.readouterr().err
    assert expected in said and absent not in said


def test_opt_verifies_on_random_and_on_real_weights(
    imported: str, folder: str, capsys: Captured
) -> None:
    command = ["opt", imported, "--pipeline", "raise,fuse-norms", "--verify-passes"]
    for weights in ([], ["--weights", folder]):
        assert main([*command, *weights, "-o", "/dev/null"]) == 0
        assert "contracts of the passes, all kept" in capsys.readouterr().err


def test_a_pass_that_is_not_there(imported: str, folder: str, capsys: Captured) -> None:
    assert main(["opt", imported, "--pipeline", "raise", "--print-after=fuse-norms"]) == 2
    assert "the pipeline has no pass 'fuse-norms'" in capsys.readouterr().err
    assert main(["compile", folder, "--stop-after", "nowhere"]) == UsageError.exit_code
    message = capsys.readouterr().err
    assert "Give one of canonicalize, " in message and "fuse-norms" in message
