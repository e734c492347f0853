"""Finds a target by its name: a family, and a variant of it behind a colon.

A family is a folder `targets/<family>/target.py`, or an entry point of the group `ingot.targets`.
The module defines `TARGET`, or `open_variant`, which makes the target of a variant; the entry point
is either.
"""

from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import iter_modules
from types import FunctionType
from typing import cast

from ingot.errors import UsageError
from ingot.extensions import Group, Owner

from .base import Target

GROUP = Group("ingot.targets", "target", "targets")

OpenVariant = Callable[[str], Target]
"""Returns the target of a variant, "" for that which stands for the family; raises `UsageError`."""


def find_target(name: str, extensions: Iterable[EntryPoint] | None = None) -> Target:
    """Return the target called `name`, as in `cpu` or `tpu:v5e-8`.

    Raises `UsageError` if there is no such family or variant, or two owners of the family, and
    `ExtensionError` if its distribution cannot be imported.
    """
    family, _, variant = name.partition(":")
    found = GROUP.find(family, target_names(extensions))
    if not isinstance(found, Target):
        return cast(OpenVariant, found)(variant)
    if variant:
        raise UsageError(
            f"target {family} has no variant {variant!r}", hint=f"Write --target {family}."
        )
    return found


def target_names(extensions: Iterable[EntryPoint] | None = None) -> dict[str, Owner]:
    """Return who defines each family: a folder of ours, or another distribution's entry point.

    `extensions` stands for the installed entry points; a test gives its own.
    """
    own = {name: Owner(name, f"targets/{name}", partial(_own, name)) for name in _own_folders()}
    return GROUP.owners(own, _accept, extensions)


def unknown_variant(family: str, variant: str, known: Iterable[str], hint: str = "") -> UsageError:
    """Return the error for a variant that a family does not have, which lists those that it has."""
    listed = f"Known: {', '.join(f'{family}:{name}' for name in known)}."
    if not variant:
        return UsageError(f"target {family} needs a variant", hint=" ".join((listed, hint)).strip())
    return UsageError(
        f"target {family} has no variant {variant!r}", hint=" ".join((listed, hint)).strip()
    )


def _own(name: str) -> object:
    module = import_module(f"ingot.targets.{name}.target")
    found: object = getattr(module, "open_variant", None) or module.TARGET
    return found


def _accept(owner: Owner, found: object) -> object:
    if not isinstance(found, Target | FunctionType):
        raise GROUP.refuse(owner, found, "a value of ingot.targets.Target")
    return found


@cache
def _own_folders() -> tuple[str, ...]:
    here = Path(__file__).parent
    return tuple(module.name for module in iter_modules([str(here)]) if module.ispkg)
