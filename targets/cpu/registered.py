"""Lowerings that other distributions add to the table of the CPU target.

An entry point of the group `ingot.cpu_lowerings` is named like its operation without `lm.`, and
leads to a function of a `Context` and the operation that adds launches.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint
from typing import Any

from ingot.extensions import Group, Owner

Lowering = Callable[[Any, Any], None]
GROUP = Group("ingot.cpu_lowerings", "CPU lowering", "CPU lowerings")


def registered_lowering(
    name: str, own: Iterable[str], extensions: Iterable[EntryPoint] | None = None
) -> Lowering | None:
    """Return the lowering of the operation called `name`, None if there is none.

    `own` are the operations that this target lowers itself; nobody else may.  Raises ExtensionError
    where the distribution that brings it cannot be imported.
    """
    ours = {one: Owner(one, "targets/cpu/lower.py", lambda: None) for one in own}
    owner = GROUP.owners(ours, _accept, extensions).get(name)
    found: Any = None if owner is None else owner.load()
    return found if callable(found) else None


def _accept(owner: Owner, found: object) -> object:
    if not callable(found):
        raise GROUP.refuse(owner, found, "a function of a context and an operation")
    return found
