"""`ingot opt` reads, verifies, transforms and prints modules."""

import argparse
import io
import sys
from pathlib import Path

import pytest

from ingot.compiler.cli import opt
from ingot.errors import UsageError
from ingot.ir import InvalidModuleError, Module

STEP = """
func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x4xf32> {
  %e = "lm.weight"() {symbol = "e"} : () -> tensor<9x4xf32>
  %unused = "lm.weight"() {symbol = "unused"} : () -> tensor<9x4xf32>
  %x = "lm.embedding"(%t, %e) : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}
"""


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    opt.add_arguments(parser)
    return opt.run(parser.parse_args(arguments))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "step.mlir"
    path.write_text(STEP)
    return path


def test_prints_what_it_read(source: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(str(source)) == 0
    assert capfdbinary.readouterr().out.decode().rstrip() == Module.parse(STEP).text().rstrip()


def test_runs_passes(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mlir"
    assert run(str(source), "--pipeline=canonicalize", "-o", str(out)) == 0
    assert '"e"' in out.read_text() and "unused" not in out.read_text()


def test_bytecode_there_and_back(source: Path, tmp_path: Path) -> None:
    code, text = tmp_path / "step.mlirbc", tmp_path / "again.mlir"
    assert run(str(source), "--emit", "bytecode", "-o", str(code)) == 0
    assert run(str(code), "--locations", "-o", str(text)) == 0
    assert Module.parse(text.read_text()).text() == Module.parse(STEP).text()
    assert f'"{source}":5:8' in text.read_text()


def test_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(STEP.encode())))
    assert run("-") == 0
    assert b"lm.embedding" in capfdbinary.readouterr().out


def test_an_invalid_module_is_located(tmp_path: Path) -> None:
    path = tmp_path / "bad.mlir"
    path.write_text(STEP.replace('%x = "lm.embedding"(%t', '%x = "lm.embedding"(%b'))
    with pytest.raises(InvalidModuleError) as caught:
        run(str(path))
    assert caught.value.where.startswith(f"{path}:5")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "no file is given"),
        (["missing.mlir"], "missing.mlir: cannot be read: No such file"),
        (["FILE", "--pipeline=no-such-pass"], "no pass 'no-such-pass'"),
    ],
)
def test_wrong_usage(source: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(*(str(source) if argument == "FILE" else argument for argument in arguments))


def test_a_file_that_is_no_module(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(range(200, 256)))
    with pytest.raises(UsageError, match="neither MLIR text nor MLIR bytecode"):
        run(str(path))


def test_lists_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list-passes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("canonicalize") for line in lines)
    assert any("raise" in line.split("{")[0] for line in lines)
