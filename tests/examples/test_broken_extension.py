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


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a distribution whose entry points lead nowhere."""
    info = tmp_path / "site" / "acme_broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return info.parent


def ingot(run: Run, site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(site, "-m", "ingot.compiler.cli.main", *words)


def test_others_go_on_working(site: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "step.mlir").write_text(MODULE)
    done = ingot(run, site, "opt", "step.mlir", "--pipeline", "quantize{embedding=int8}")
    assert done.returncode == 0 and "int8" in done.stdout
    said = "acme_missing.op:Op of acme-broken: operation 'acme_op' cannot be loaded: "
    assert done.stderr.startswith(said) and done.stderr.count("cannot be loaded") == 1
    assert "Traceback" not in done.stderr


def test_who_uses_it_gets_one_message(site: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "step.mlir").write_text(MODULE)
    done = ingot(run, site, "opt", "step.mlir", "--pipeline", "shattered")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "acme_missing.shattered:Shattered of acme-broken: pass 'shattered'" in done.stderr
    assert "No module named 'acme_missing'" in done.stderr
    assert "Repair or uninstall acme-broken." in done.stderr


def test_the_list_leaves_it_out_and_says_so(site: Path, run: Run) -> None:
    done = ingot(run, site, "opt", "--list-passes")
    assert done.returncode == 0 and "canonicalize" in done.stdout
    assert "shattered" not in done.stdout and "shattered" in done.stderr
