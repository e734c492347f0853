"""Which executor runs an artifact: that of its target."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ingot.errors import ArtifactError, ExtensionError
from ingot.runtime import Artifact
from ingot.runtime.executors import GROUP, open_executor


def artifact(*targets: str) -> Artifact:
    return Artifact(Path("m.ingot"), {"targets": {name: {} for name in targets}}, {})


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> EntryPoint:
    """An executor of the target `acme`, which shows what it is given."""
    module: Any = ModuleType("acme_executors")
    module.make = lambda loaded, **options: (loaded, options)
    monkeypatch.setitem(sys.modules, "acme_executors", module)
    return EntryPoint("acme", "acme_executors:make", GROUP.name)


def test_a_target_brings_its_executor(entry: EntryPoint) -> None:
    wanted = artifact("acme")
    found: Any = open_executor(wanted, threads=3, extensions=[entry], pages=5)
    assert found == (wanted, {"threads": 3, "pages": 5})


def test_a_target_without_one_is_named(entry: EntryPoint) -> None:
    with pytest.raises(ArtifactError, match="compiled for other, which nothing here runs"):
        open_executor(artifact("other"), extensions=[entry])


def test_what_is_no_function_is_refused() -> None:
    wrong = EntryPoint("acme", "sys:path", GROUP.name)
    with pytest.raises(ExtensionError, match="not a function that returns an executor"):
        open_executor(artifact("acme"), extensions=[wrong])
