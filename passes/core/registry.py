"""Finds passes by name: a file of this folder, or an entry point of the group `ingot.passes`.

Nobody lists the passes.  "There is no such pass" and "its file fails to import" are different
errors: the second is a bug and keeps its traceback.
"""

import inspect
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from ingot.errors import UsageError

from .base import Pass

GROUP = "ingot.passes"


def find_pass(name: str, extensions: Iterable[EntryPoint] | None = None) -> type[Pass]:
    """Return the pass called `name`; raise UsageError if there is none, or more than one owner.

    `extensions` stands for the installed entry points; a test gives its own.
    """
    owners = _owners(extensions)
    if name not in owners:
        raise UsageError(f"no pass {name!r}", hint="Passes: " + ", ".join(sorted(owners)) + ".")
    return _load(name, owners[name])


def all_passes(extensions: Iterable[EntryPoint] | None = None) -> dict[str, type[Pass]]:
    """Return every pass by name, in the order of the names."""
    owners = _owners(extensions)
    return {name: _load(name, owners[name]) for name in sorted(owners)}


@cache
def _own_names() -> tuple[str, ...]:
    folder = Path(__file__).parents[1]
    return tuple(m.name for m in iter_modules([str(folder)]) if not m.ispkg)


def _owners(extensions: Iterable[EntryPoint] | None) -> dict[str, str | EntryPoint]:
    """Return who defines each name: a file of ours, or an entry point of another distribution."""
    owners: dict[str, str | EntryPoint] = {n.replace("_", "-"): n for n in _own_names()}
    for entry in entry_points(group=GROUP) if extensions is None else extensions:
        other = owners.setdefault(entry.name, entry)
        if other is not entry:
            theirs = f"passes/{other}.py" if isinstance(other, str) else other.value
            raise UsageError(
                f"two passes are called {entry.name!r}: {theirs} and {entry.value}",
                hint="Rename one, or uninstall the distribution that brings it.",
            )
    return owners


def _load(name: str, owner: str | EntryPoint) -> type[Pass]:
    if isinstance(owner, str):
        return _only_pass(import_module(f"ingot.passes.{owner}"))
    loaded = owner.load()
    if not (inspect.isclass(loaded) and issubclass(loaded, Pass)):
        raise UsageError(
            f"entry point {owner.value} of {GROUP} is not a pass",
            hint="Point it at a subclass of ingot.passes.Pass.",
        )
    assert loaded.name() == name, f"{owner.value} calls itself {loaded.name()!r}, not {name!r}"
    return loaded


def _only_pass(module: ModuleType) -> type[Pass]:
    """Return the one concrete pass that `module` defines."""
    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, Pass)
        and member.__module__ == module.__name__
    ]
    assert len(found) == 1, f"{module.__name__} defines {len(found)} passes, not one"
    return found[0]
