"""The operations of `lm`, one a file; the files here are the list.

Other distributions add theirs by the entry-point group `ingot.ops`: the name of an entry point is
that of the operation without `lm.`.  One that cannot be loaded is logged, and missing.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint
from typing import cast

from ingot.extensions import Group, Owner
from ingot.ir.operation import Op

GROUP = Group("ingot.ops", "operation", "operations")


def all_operations(extensions: Iterable[EntryPoint] | None = None) -> dict[str, type[Op]]:
    """Return the class of every operation by its full name (`lm.linear`).

    Raises UsageError for two owners of a name; `extensions` stands for the installed entry points.
    """
    own = _own()
    if extensions is None:
        return {**own, **_installed()}
    return {**own, **_extensions(extensions)}


@cache
def _own() -> dict[str, type[Op]]:
    found: dict[str, type[Op]] = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        for value in vars(module).values():
            if not isinstance(value, type) or not issubclass(value, Op) or value is Op:
                continue
            name = value.OPERATION_NAME
            owner = found.setdefault(name, value)
            assert owner is value, f"{name} is defined by {owner.__module__} and {value.__module__}"
    return found


@cache
def _installed() -> dict[str, type[Op]]:
    return _extensions(None)


def _extensions(extensions: Iterable[EntryPoint] | None) -> dict[str, type[Op]]:
    own = {
        name.removeprefix("lm."): Owner(name, f"{kind.__module__}:{kind.__name__}", lambda: None)
        for name, kind in _own().items()
    }
    owners = GROUP.owners(own, _accept, extensions)
    theirs = {name: owner for name, owner in owners.items() if name not in own}
    loaded = cast(dict[str, type[Op]], GROUP.loadable(theirs))
    return {f"lm.{name}": kind for name, kind in loaded.items()}


def _accept(owner: Owner, found: object) -> type[Op]:
    wanted = f"a subclass of ingot.ir.Op called lm.{owner.name}"
    if not isinstance(found, type) or not issubclass(found, Op):
        raise GROUP.refuse(owner, found, wanted)
    if f"lm.{owner.name}" != found.OPERATION_NAME:
        raise GROUP.refuse(owner, found, wanted)
    return found
