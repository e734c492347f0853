"""The dependency rule between the folders, and what importing the serving part costs."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {path.name for path in (ROOT / "src" / "ingot").iterdir() if path.is_symlink()}


def test_imports_go_down_only() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_folder_has_its_layer() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name.strip().removeprefix("ingot.") for layer in layers for name in layer.split("|")}
    assert named == FOLDERS | {"errors", "knobs", "extensions"}


def test_links_are_relative_and_lead_to_the_folders() -> None:
    for name in FOLDERS:
        link = ROOT / "src" / "ingot" / name
        assert link.readlink() == Path("..") / ".." / name
        assert link.resolve() == ROOT / name


def test_the_runtime_needs_neither_torch_nor_mlir() -> None:
    program = (
        "import sys, ingot.runtime\n"
        "heavy = {'torch', 'transformers', 'torch_mlir'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_ingot_alone_loads_nothing_else() -> None:
    program = (
        "import sys, ingot; assert 'numpy' not in sys.modules and 'llvmlite' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
