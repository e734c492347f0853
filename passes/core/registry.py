"""Finds passes by name: a file of this folder, or an entry point of the group `ingot.passes`.

Nobody lists the passes.  A file of ours that fails to import is a bug and keeps its traceback.
"""

import inspect
from collections.abc import Iterable
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import cast

from ingot.errors import ExtensionError
from ingot.extensions import Group, Owner

from .base import Pass

GROUP = Group("ingot.passes", "pass", "passes")


def find_pass(name: str, extensions: Iterable[EntryPoint] | None = None) -> type[Pass]:
    """Return the pass called `name`.

    Raises UsageError if there is none, or more than one owner, and ExtensionError if its
    distribution cannot be imported.  `extensions` stands for the installed entry points.
    """
    found = GROUP.find(name, pass_owners(extensions))
    assert inspect.isclass(found) and issubclass(found, Pass)
    return found


def all_passes(extensions: Iterable[EntryPoint] | None = None) -> dict[str, type[Pass]]:
    """Return every pass that loads by name, in the order of the names; log what does not."""
    return cast(dict[str, type[Pass]], GROUP.loadable(pass_owners(extensions)))


def pass_owners(extensions: Iterable[EntryPoint] | None = None) -> dict[str, Owner]:
    """Return who defines each pass: a file of ours, or an entry point of another distribution."""
    own = {}
    for file in _own_files():
        name = file.replace("_", "-")
        own[name] = Owner(name, f"passes/{file}.py", partial(_only_pass, file))
    return GROUP.owners(own, _accept, extensions)


@cache
def _own_files() -> tuple[str, ...]:
    folder = Path(__file__).parents[1]
    return tuple(m.name for m in iter_modules([str(folder)]) if not m.ispkg)


def _accept(owner: Owner, found: object) -> type[Pass]:
    if not (inspect.isclass(found) and issubclass(found, Pass)):
        raise GROUP.refuse(owner, found, "a subclass of ingot.passes.Pass")
    if found.name() != owner.name:
        raise ExtensionError(
            f"the pass calls itself {found.name()!r}, its entry point {owner.name!r}",
            where=owner.source,
            hint="Name the file after the pass, or the entry point after the file.",
        )
    return found


def _only_pass(file: str) -> type[Pass]:
    """Return the one concrete pass that a file of ours defines."""
    module: ModuleType = import_module(f"ingot.passes.{file}")
    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, Pass)
        and member.__module__ == module.__name__
    ]
    assert len(found) == 1, f"{module.__name__} defines {len(found)} passes, not one"
    return found[0]
