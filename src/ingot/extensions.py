"""Names that other distributions may own: found by entry point, loaded when asked for.

    group                named like    holds
    ingot.ops            an operation  a subclass of ingot.ir.Op
    ingot.encodings      an encoding   an ingot.ir.CustomEncoding
    ingot.passes         a pass        a subclass of ingot.passes.Pass
    ingot.pipelines      a pipeline    a module with a docstring and PASSES
    ingot.targets        a target      an ingot.targets.Target, or a function of a variant
    ingot.executors      a target      a function that returns what runs its artifacts
    ingot.cpu_lowerings  an operation  a function that lowers it for the CPU target
    ingot.cpu_packings   an encoding   an ingot.targets.cpu.extension.Packing

An operation's name stands without `lm.`.  Two owners of a name, a name that nobody owns and an
extension that cannot be loaded are three different errors.  What is broken stops only its users.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ingot.errors import ExtensionError, UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LOG = logging.getLogger("ingot.extensions")


@dataclass(frozen=True)
class Owner:
    """Who defines a name: `source` says where, `load` returns what it defines."""

    name: str
    source: str
    load: Callable[[], object]


@dataclass(frozen=True)
class Group:
    """The owners of one kind of thing: ours, and other distributions' by entry point.

    `kind` and `plural` name the thing in messages.
    """

    name: str
    kind: str
    plural: str

    def owners(
        self,
        own: Mapping[str, Owner],
        accept: Callable[[Owner, object], object],
        extensions: "Iterable[EntryPoint] | None" = None,
    ) -> dict[str, Owner]:
        """Return who defines each name; raise UsageError for two owners of one.

        `accept` makes of what an entry point holds what its owner's `load` gives, or raises
        ExtensionError.  `extensions` stands for the installed entry points; a test gives its own.
        """
        found = dict(own)
        for entry in installed(self.name) if extensions is None else extensions:
            owner = self._extension(entry, accept)
            other = found.setdefault(entry.name, owner)
            if other is not owner:
                raise UsageError(
                    f"two {self.plural} are called {entry.name!r}: "
                    f"{other.source} and {owner.source}",
                    hint="Rename one, or uninstall the distribution that brings it.",
                )
        return found

    def find(self, name: str, owners: Mapping[str, Owner]) -> object:
        """Return what `name` stands for; raise UsageError where nobody owns it.

        Raises ExtensionError where its distribution cannot be imported.
        """
        if name not in owners:
            known = ", ".join(sorted(owners)) or "none"
            raise UsageError(f"no {self.kind} {name!r}", hint=f"{self.plural.title()}: {known}.")
        return owners[name].load()

    def loadable(self, owners: Mapping[str, Owner]) -> dict[str, object]:
        """Return everything that loads, by name; log one line for each extension that does not."""
        found = {}
        for name in sorted(owners):
            try:
                found[name] = owners[name].load()
            except ExtensionError as error:
                LOG.warning("%s", error)
        return found

    def refuse(self, owner: Owner, found: object, wanted: str) -> ExtensionError:
        """Return the error for an entry point that holds something else than its group wants."""
        kind = found.__name__ if isinstance(found, type) else f"a {type(found).__name__}"
        return ExtensionError(
            f"{self.kind} {owner.name!r} is {kind}, not {wanted}",
            where=owner.source,
            hint=f"Point the entry point of the group {self.name} at {wanted}.",
        )

    def _extension(self, entry: "EntryPoint", accept: Callable[[Owner, object], object]) -> Owner:
        distribution = entry.dist.name if entry.dist is not None else ""
        source = f"{entry.value} of {distribution}" if distribution else entry.value

        def load() -> object:
            try:
                found = entry.load()
            except Exception as error:
                raise ExtensionError(
                    f"{self.kind} {entry.name!r} cannot be loaded: {type(error).__name__}: {error}",
                    where=source,
                    hint=f"Repair or uninstall {distribution or 'the distribution'}.",
                ) from error
            return accept(owner, found)

        owner = Owner(entry.name, source, load)
        return owner


@cache
def installed(group: str) -> "tuple[EntryPoint, ...]":
    """Return the entry points of `group` in this environment, in the order of their names."""
    from importlib.metadata import entry_points  # 25 ms that a start without extensions saves

    return tuple(sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)))
