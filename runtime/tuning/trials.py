"""Plans that run nothing but the kernels to compare, on parts of the weights of the real plan."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .choice import Family, family_of

_STREAMED_BYTES = 48 << 20
"""Weights of one pass, so that a pass later they come from memory again as in a real step."""
_PIECE_BYTES = 1 << 20
_FEW_PIECES, _MOST_PIECES = 5, 64
_PANELS_A_THREAD = 12
"""A multiple of the panels that any schedule takes at once, so that none has some left over."""

MANY_ROWS = 32
"""Rows from which arithmetic takes longer than reading weights, and few pieces tell enough."""


@dataclass(frozen=True)
class Piece:
    """A part of a launch: `units` from the one on whose weights begin at `offset`."""

    launch: Mapping[str, Any]
    units: int
    offset: int


@dataclass(frozen=True)
class Trial:
    """One kernel on one piece; `launch` is it as an entry of a plan."""

    symbol: str
    piece: int
    launch: Mapping[str, Any]


def pieces_of(
    document: Mapping[str, Any],
    families: Mapping[str, Family],
    weights: Mapping[str, NDArray[np.uint8]],
    *,
    rows: int,
    threads: int,
) -> dict[str, list[Piece]]:
    """Return for each family the pieces to time its kernels on, spread over the launches."""
    launches: dict[str, list[Mapping[str, Any]]] = {name: [] for name in families}
    for launch in document["launches"]:
        name = family_of(launch).name
        if name in families and _stands_alone(launch):
            launches[name].append(launch)
    wanted = _STREAMED_BYTES // max(len(families), 1)
    most = _FEW_PIECES if rows >= MANY_ROWS else _MOST_PIECES
    pieces: dict[str, list[Piece]] = {}
    for name, listed in launches.items():
        parts = [_parts(launch, weights, rows, threads) for launch in listed]
        in_turn = [one for turn in zip_longest(*parts) for one in turn if one is not None]
        total = list(accumulate(size for _, size in in_turn))
        enough = bisect_left(total, wanted) + 1
        pieces[name] = [piece for piece, _ in in_turn[: min(enough, most)]]
    return pieces


def trials_of(
    families: Mapping[str, Family], pieces: Mapping[str, Sequence[Piece]], rows: int
) -> list[Trial]:
    """Return every candidate for so many rows on every piece, each piece once in a pass."""
    compared = {
        name: family.candidates(rows)
        for name, family in families.items()
        if len(family.candidates(rows)) > 1
    }
    passes = max((len(symbols) for symbols in compared.values()), default=0)
    return [trial for number in range(passes) for trial in _pass(compared, pieces, number)]


def _pass(
    compared: Mapping[str, Sequence[str]], pieces: Mapping[str, Sequence[Piece]], number: int
) -> Iterator[Trial]:
    for name, symbols in compared.items():
        if number >= len(symbols):
            continue
        for place, piece in enumerate(pieces[name]):
            symbol = symbols[(number + place) % len(symbols)]
            yield Trial(symbol, place, _launch(piece, symbol))


def _launch(piece: Piece, symbol: str) -> dict[str, Any]:
    slots, offset = [], piece.offset
    for slot in piece.launch["slots"]:
        if slot[0] == "weight":
            slot, offset = [slot[0], slot[1], slot[2] + offset], 0  # the first holds the panels
        slots.append(slot)
    return {
        **piece.launch,
        "kernels": [[None, symbol]],
        "units": {"count": piece.units},
        "barrier": True,
        "slots": slots,
    }


def _stands_alone(launch: Mapping[str, Any]) -> bool:
    """Whether the launch reads weights and activations only: it runs whatever the step is."""
    kinds = {slot[0] for slot in launch["slots"]}
    return (
        "count" in launch["units"]
        and "weight" in kinds
        and kinds <= {"buffer", "weight", "int", "field"}
    )


def _parts(
    launch: Mapping[str, Any], weights: Mapping[str, NDArray[np.uint8]], rows: int, threads: int
) -> list[tuple[Piece, int]]:
    """Return a launch in pieces, and the bytes of each."""
    units = launch["units"]["count"]
    _, name, start = next(slot for slot in launch["slots"] if slot[0] == "weight")
    each, rest = divmod(weights[name].nbytes - start, units)
    turn = threads * _PANELS_A_THREAD
    wanted = turn if rows >= MANY_ROWS else -(-_PIECE_BYTES // max(each, 1) // turn) * turn
    if rest or wanted >= units:
        return [(Piece(launch, units, 0), each * units)]
    firsts = range(0, units - wanted + 1, wanted)
    return [(Piece(launch, wanted, first * each), each * wanted) for first in firsts]
