"""The measurement: candidates take turns on the artifact's weights, on the real thread team."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.runtime import _native

from .choice import Choice, Family
from .trials import Trial, pieces_of, trials_of

SECONDS = 0.3
"""What a measurement may take; what has not been measured by then keeps its default."""

_ROWS = (1, 2, 4, 8, 12, 16, 32, 128)
"""Numbers of rows that are measured: each stands for those from the one before it on."""
_ROUNDS = 5
_LEAST_GAIN = 0.03
"""What a kernel must save to be preferred to the default: less is noise."""

Resolve = Callable[[Mapping[str, Any]], _native.Plan]
"""Makes a native plan of a document whose launches call kernels that are loaded."""
Seconds = Mapping[str, Mapping[int, float]]
"""Seconds by kernel and piece."""


def measure(
    document: Mapping[str, Any],
    families: Mapping[str, Family],
    weights: Mapping[str, NDArray[np.uint8]],
    resolve: Resolve,
    threads: int,
    *,
    seconds: float = SECONDS,
) -> dict[str, Choice]:
    """Return the fastest choice for each family, as far as `seconds` allow."""
    end = time.perf_counter() + seconds
    best: dict[str, dict[int, str]] = {name: {} for name in families}
    for number, rows in enumerate(_ROWS):
        now = time.perf_counter()
        if now >= end:
            break
        pieces = pieces_of(document, families, weights, rows=rows, threads=threads)
        trials = trials_of(families, pieces, rows)
        if not trials:
            continue
        share = (end - now) / (len(_ROWS) - number)
        taken = _time(document, trials, resolve, rows, threads, now + share)
        for name, family in families.items():
            best[name][rows] = fastest(family.candidates(rows), taken)
    return {name: choice_of(family, best[name]) for name, family in families.items()}


def _time(
    document: Mapping[str, Any],
    trials: Sequence[Trial],
    resolve: Resolve,
    rows: int,
    threads: int,
    end: float,
) -> Seconds:
    """Return the shortest time of every trial, in rounds until `end`, at least one."""
    plan = resolve(
        {
            **document,
            "kv_cache": {**document["kv_cache"], "layers": []},
            "states": [],
            "launches": [trial.launch for trial in trials],
        }
    )
    executor = _native.Executor(plan, rows, 1, 1, threads)
    try:
        executor.set_profiling(True)
        shortest: dict[str, dict[int, float]] = defaultdict(dict)
        for number in range(_ROUNDS + 1):
            _step(executor, rows)
            if number:  # the first round brings code and weights into memory
                _keep_shortest(shortest, trials, executor.last_profile())
            if number and time.perf_counter() >= end:
                break
        return shortest
    finally:
        executor.close()


def _step(executor: _native.Executor, rows: int) -> None:
    """Run a step of so many sequences, of a token each, whose results are all wanted."""
    nothing = np.zeros(0, np.int32)
    executor.step(
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int32),
        np.arange(rows + 1, dtype=np.int32),
        np.zeros((rows, 1), np.int32),
        np.arange(rows, dtype=np.int32),
        nothing,
        nothing,
    )


def _keep_shortest(
    shortest: dict[str, dict[int, float]],
    trials: Sequence[Trial],
    profile: Sequence[tuple[str, float]],
) -> None:
    for trial, (_, taken) in zip(trials, profile, strict=True):
        known = shortest[trial.symbol].get(trial.piece, taken)
        shortest[trial.symbol][trial.piece] = min(known, taken)


def fastest(candidates: Sequence[str], taken: Seconds) -> str:
    """Return the first, or the fastest where it is faster by more than noise.

    What is compared is the median over the pieces, so that one disturbed piece decides nothing.
    """
    default = taken.get(candidates[0])
    if not default:
        return candidates[0]
    ratios = {
        symbol: float(np.median([taken[symbol][piece] / default[piece] for piece in default]))
        for symbol in candidates
        if symbol in taken
    }
    best = min(ratios, key=lambda symbol: ratios[symbol])
    return best if ratios[best] < 1 - _LEAST_GAIN else candidates[0]


def choice_of(family: Family, best: Mapping[int, str]) -> Choice:
    """Return the choice that what was measured makes: a row count stands for those below it."""
    numbers = {*best, *(rows for rows, _ in family.variants if rows is not None)} - {_ROWS[-1]}
    known = [(rows, best.get(rows, family.candidates(rows)[0])) for rows in sorted(numbers)]
    last = (None, best.get(_ROWS[-1], family.default[-1][1]))
    serving: list[tuple[int | None, str]] = []
    for rows, symbol in (*known, last):
        if serving and serving[-1][1] == symbol:
            serving.pop()
        serving.append((rows, symbol))
    return tuple(serving)
