"""Where an operation comes from: the module of the model and the Python line, as a value.

The importer writes `loc("model.layers.7.mlp.down_proj"("…/modeling.py":150:0))` at each operation;
what replaces several operations has them all, `loc(fused[…])`, the one it stands for first.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .mlir import Location, ir


@dataclass(frozen=True)
class Source:
    """One place in the model: module path ('' where unknown), file and line (0 where unknown)."""

    module: str
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """`file:line`, '' where unknown."""
        return f"{self.file}:{self.line}" if self.file else ""

    def __str__(self) -> str:
        if self.module and self.file:
            return f"{self.module} ({self.place})"
        return self.module or self.place or "unknown"


def sources_of(location: Location) -> tuple[Source, ...]:
    """Return the places that a location names, in order, each once."""
    return tuple(dict.fromkeys(_sources(location, "")))


def source_of(location: Location) -> Source:
    """Return the first place that a location names; an empty one where it is unknown."""
    return next(iter(sources_of(location)), Source(""))


def fused_location(locations: Iterable[Location]) -> Location:
    """Return one location for what replaces operations at `locations`; unknown ones are dropped.

    At least one location is needed, for its context.
    """
    every = list(locations)
    known = list(dict.fromkeys(part for one in every for part in _parts(one)))
    if len(known) < 2:
        return known[0] if known else every[0]
    return Location.fused(known, context=every[0].context)


def _parts(location: Location) -> list[Location]:
    """Return the locations that are fused in one, the unknown ones left out."""
    if isinstance(location, ir.FusedLoc):
        return [part for one in location.locations for part in _parts(one)]
    return [] if isinstance(location, ir.UnknownLoc) else [location]


def _sources(location: Location, module: str) -> list[Source]:
    if isinstance(location, ir.NameLoc):
        return _sources(location.child_loc, location.name_str)
    if isinstance(location, ir.FusedLoc):
        return [source for one in location.locations for source in _sources(one, module)]
    # The parser of bytecode calls its source "-".
    if isinstance(location, ir.FileLineColLoc) and location.filename != "-":
        return [Source(module, location.filename, location.start_line)]
    return [Source(module)] if module else []
