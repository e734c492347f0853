"""Runs several pipelines on one module, what they begin with in common only once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from ingot.errors import IngotError
from ingot.ir import Module
from ingot.passes import Pass, Pipeline

Key = TypeVar("Key")
Passes = tuple[Pass, ...]
Watch = Callable[[Pass], None]


def branches(
    module: Module, pipelines: Mapping[Key, Pipeline], watch: Watch = lambda one: None
) -> Iterator[tuple[Key, Module | IngotError]]:
    """Run each pipeline on a copy of `module`, and return what came of it by the pipeline's key.

    That is an error where a pass refuses the module.  A module is good until the next is asked
    for.  `watch` is called before each pass.  Nothing is verified: a compile does that.
    """
    yield from _grow(module.clone(), {key: one.passes for key, one in pipelines.items()}, watch)


def in_common(pipelines: Iterable[Pipeline]) -> Pipeline:
    """Return the passes that all pipelines begin with."""
    columns = zip(*(one.passes for one in pipelines), strict=False)
    shared: list[Pass] = []
    for column in columns:
        if any(one != column[0] for one in column):
            break
        shared.append(column[0])
    return Pipeline(tuple(shared))


def _grow(
    module: Module, rest: Mapping[Key, Passes], watch: Watch
) -> Iterator[tuple[Key, Module | IngotError]]:
    """Run what is left of some pipelines on `module`, which the last of them may change."""
    groups: dict[Pass | None, dict[Key, Passes]] = {}
    for key, passes in rest.items():
        groups.setdefault(passes[0] if passes else None, {})[key] = passes[1:]
    yield from ((key, module) for key in groups.pop(None, {}))
    for number, (first, group) in enumerate(groups.items(), 1):
        assert first is not None
        grown = module if number == len(groups) else module.clone()
        try:
            watch(first)
            first.run(grown)
        except IngotError as error:
            yield from ((key, error) for key in group)
            continue
        yield from _grow(grown, group, watch)
