"""Runs several pipelines on copies of one module, what they begin with in common only once."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from ingot.errors import IngotError
from ingot.ir import Module
from ingot.passes import Pass, Pipeline

Key = TypeVar("Key")
Passes = tuple[Pass, ...]


def branches(
    module: Module,
    pipelines: Mapping[Key, Pipeline],
    watch: Callable[[Pass], None] = lambda one: None,
) -> Iterator[tuple[Key, Module | IngotError]]:
    """Run each pipeline on a copy of `module`, and return what came of it by the pipeline's key.

    That is an error where a pass refuses the module.  A module is good until the next is asked
    for.  `watch` is called before each pass.
    """
    yield from _branches(module, {key: one.passes for key, one in pipelines.items()}, watch)


def _branches(
    module: Module, rest: Mapping[Key, Passes], watch: Callable[[Pass], None]
) -> Iterator[tuple[Key, Module | IngotError]]:
    groups: dict[Pass | None, dict[Key, Passes]] = {}
    for key, passes in rest.items():
        first = passes[0] if passes else None
        groups.setdefault(first, {})[key] = passes[1:]
    for first, group in groups.items():
        if first is None:
            yield from ((key, module) for key in group)
            continue
        copy = module.clone()
        try:
            watch(first)
            first.run(copy)
            copy.verify(f"module after pass {first}")
        except IngotError as error:
            yield from ((key, error) for key in group)
            continue
        yield from _branches(copy, group, watch)
