"""Which kernel serves which number of rows, and what there is to choose from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

Choice = tuple[tuple[int | None, str], ...]
"""Kernels by the largest number of rows that each is to serve (None: any), smallest first."""
Choices = Mapping[str, Choice]
"""Choices by the names of families."""
NO_CHOICES: Choices = MappingProxyType({})


@dataclass(frozen=True)
class Family:
    """The kernels of one shape: for each largest number of rows those that may serve up to it.

    The first of a variant is its default.  Kernels of a later variant may serve fewer rows too.
    """

    variants: tuple[tuple[int | None, tuple[str, ...]], ...]

    @property
    def name(self) -> str:
        """The symbol of the first kernel."""
        return self.variants[0][1][0]

    @property
    def default(self) -> Choice:
        """The choice where nothing has been measured."""
        return tuple((rows, symbols[0]) for rows, symbols in self.variants)

    @property
    def symbols(self) -> frozenset[str]:
        """All kernels."""
        return frozenset(symbol for _, symbols in self.variants for symbol in symbols)

    def candidates(self, rows: int) -> tuple[str, ...]:
        """Return the kernels to compare for so many rows: the default, and what may be faster."""
        serving = next(s for most, s in self.variants if most is None or most >= rows)
        _, any_rows = self.variants[-1]
        return tuple(dict.fromkeys((*serving, *(any_rows if rows >= _LEAST_ROWS_OF_TILES else ()))))

    def among(self, available: Collection[str]) -> "Family":
        """Return the family without the candidates that are not `available`; defaults are."""
        return Family(
            tuple(
                (rows, (symbols[0], *(symbol for symbol in symbols[1:] if symbol in available)))
                for rows, symbols in self.variants
            )
        )

    def accepts(self, choice: Choice) -> bool:
        """Whether every number of rows has one kernel, and one that can serve it."""
        most = {symbol: rows for rows, symbols in self.variants for symbol in symbols}
        limits = [_number(rows) for rows, _ in choice]
        return (
            bool(choice)
            and choice[-1][0] is None
            and all(a < b for a, b in pairwise(limits))
            and all(s in most and _number(rows) <= _number(most[s]) for rows, s in choice)
        )


# Below that a kernel for any number of rows does work for rows that are not there.
_LEAST_ROWS_OF_TILES = 8


def family_of(launch: Mapping[str, Any]) -> Family:
    """Return the kernels of a launch of a plan; raises KeyError, TypeError or ValueError."""
    variants = tuple((rows, _symbols(symbols)) for rows, symbols in launch["kernels"])
    if not variants:
        raise ValueError("no kernel")
    return Family(variants)


def serving(launch: Mapping[str, Any], choices: Choices) -> Choice:
    """Return which of its kernels a launch calls for which numbers of rows."""
    family = family_of(launch)
    choice = choices.get(family.name)
    if choice is None:
        return family.default
    assert family.accepts(choice), f"{choice} is no choice for {launch['name']}"
    return choice


def _symbols(stated: object) -> tuple[str, ...]:
    listed = stated if isinstance(stated, list) else [stated]
    if not listed or not all(isinstance(symbol, str) for symbol in listed):
        raise ValueError(f"{stated!r} names no kernel")
    return tuple(listed)


def _number(rows: int | None) -> float:
    return float("inf") if rows is None else rows
