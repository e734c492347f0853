"""Named pipelines: texts of passes under a name, to print, to copy and to change.

One is a file of `passes/pipelines/` (`fuse.py` holds `fuse`) with a docstring and `PASSES`, a
tuple of passes; or an entry point of the group `ingot.pipelines` that leads to such a module.  A
name stands for its passes wherever a pass may stand.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import cast

from ingot.extensions import Group, Owner

GROUP = Group("ingot.pipelines", "pipeline", "pipelines")


@dataclass(frozen=True)
class NamedPipeline:
    """A pipeline with its name; `passes` are texts, each of a pass or of another pipeline."""

    name: str
    description: str
    passes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The pipeline as it is written on the command line."""
        return ",".join(self.passes)


def pipelines(extensions: Iterable[EntryPoint] | None = None) -> dict[str, NamedPipeline]:
    """Return every named pipeline that loads, in the order of the names."""
    return cast(dict[str, NamedPipeline], GROUP.loadable(pipeline_owners(extensions)))


def find_pipeline(name: str, extensions: Iterable[EntryPoint] | None = None) -> NamedPipeline:
    """Return the pipeline called `name`; raise UsageError if nobody owns the name."""
    found = GROUP.find(name, pipeline_owners(extensions))
    assert isinstance(found, NamedPipeline)
    return found


def pipeline_owners(extensions: Iterable[EntryPoint] | None = None) -> dict[str, Owner]:
    """Return who defines each named pipeline."""
    folder = Path(__file__).parents[1] / "pipelines"
    own = {}
    for file in sorted(module.name for module in iter_modules([str(folder)])):
        name = file.replace("_", "-")
        own[name] = Owner(name, f"passes/pipelines/{file}.py", partial(_own, name, file))
    return GROUP.owners(own, _accept, extensions)


def _own(name: str, file: str) -> NamedPipeline:
    return _named(name, import_module(f"ingot.passes.pipelines.{file}"))


def _accept(owner: Owner, found: object) -> NamedPipeline:
    passes = getattr(found, "PASSES", None)
    are_texts = isinstance(passes, tuple) and all(isinstance(one, str) for one in passes)
    if not isinstance(found, ModuleType) or not are_texts:
        raise GROUP.refuse(owner, found, "a module with PASSES, a tuple of texts")
    return _named(owner.name, found)


def _named(name: str, module: ModuleType) -> NamedPipeline:
    return NamedPipeline(name, (module.__doc__ or "").strip().partition("\n")[0], module.PASSES)
