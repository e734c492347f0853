"""The example packages, installed by pip into a folder of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the example packages: building one writes into its folder."""
    folder = tmp_path_factory.mktemp("examples") / "packages"
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(EXAMPLES, folder, ignore=ignored)
    return folder


@pytest.fixture(scope="session")
def installed(packages: Path) -> Path:
    """The folder that pip has installed all example packages to, without any network."""
    site = packages.parent / "site"
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--target", str(site))
    names = sorted(str(path.parent) for path in packages.glob("*/pyproject.toml"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options, *names],
        check=True,
    )
    return site


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs Python with a folder of packages on its path."""

    def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(site)}
        return subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return python
