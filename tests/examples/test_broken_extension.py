"""A distribution that cannot be imported stops those who use it, with one message."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

ENTRY_POINTS = """
[ingot.passes]
shattered = acme_missing.shattered:Shattered
[ingot.ops]
acme_op = acme_missing.op:Op
[ingot.encodings]
acme-int3 = acme_missing.encoding:INT3
[ingot.targets]
acme = acme_missing.target:TARGET
"""
MODULE = """
func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x4xf32> {
  %e = "lm.weight"() {symbol = "e"} : () -> tensor<9x4xf32>
  %x = "lm.embedding"(%t, %e) : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}
"""
PROGRAM = """
import sys
from ingot.compiler.cli.main import main

for words in (
    ["opt", "step.mlir", "--pipeline", "quantize{embedding=int8}", "-o", "out.mlir"],
    ["opt", "--list-passes"],
    ["opt", "step.mlir", "--pipeline", "shattered"],
    ["opt", "step.mlir", "--pipeline", "quantize{embedding=acme-int3}"],
    ["compile", "model", "--target", "acme"],
):
    code = main(words)
    for stream in (sys.stdout, sys.stderr):
        print(f"= {code}", file=stream, flush=True)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a distribution whose entry points lead nowhere."""
    info = tmp_path / "site" / "acme_broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return info.parent


def test_one_message_for_users_and_none_for_others(site: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "step.mlir").write_text(MODULE)
    done = run(site, "-c", PROGRAM)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    quantized, listed, used, encoded, target, _ = done.stderr.split("= ")
    lost = "acme_missing.op:Op of acme-broken: operation 'acme_op' cannot be loaded: "
    assert quantized.startswith(lost) and quantized.count("cannot be loaded") == 1
    assert "int8" in (tmp_path / "out.mlir").read_text()
    assert listed.startswith("0") and listed.count("cannot be loaded") == 1
    assert "shattered" in listed and "canonicalize" in done.stdout
    assert "shattered " not in done.stdout
    said = "ingot: acme_missing.shattered:Shattered of acme-broken: pass 'shattered' cannot be"
    assert said in used and "No module named 'acme_missing'" in used
    assert "Repair or uninstall acme-broken." in used
    assert encoded.startswith("1") and "encoding 'acme-int3' cannot be loaded" in encoded
    assert target.startswith("1") and "target 'acme' cannot be loaded" in target
