"""The textual tests, by lit: each file under tests/lit holds its command and what it must print."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_textual_tests_pass() -> None:
    """All of them in one run: lit shares the cores among them."""
    lit = Path(sys.executable).parent / "lit"
    done = subprocess.run([lit, "-v", ROOT / "tests" / "lit"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_textual_test_can_fail(tmp_path: Path) -> None:
    source = (ROOT / "tests/lit/passes/raise.mlir").read_text()
    (tmp_path / "wrong.mlir").write_text(
        source.replace('CHECK-NEXT: %[[Y:.*]] = "lm.glu"', "CHECK: x")
    )
    (tmp_path / "lit.cfg.py").write_text((ROOT / "tests/lit/lit.cfg.py").read_text())
    lit = Path(sys.executable).parent / "lit"
    done = subprocess.run([lit, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1 and "wrong.mlir" in done.stdout
