"""The choice for one artifact on this machine: from the cache, else measured and kept there."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingot.knobs import TUNING

from .cache import TuningCache, default_cache, key_of
from .choice import NO_CHOICES, Choice, Choices, Family
from .measure import Resolve, measure

log = logging.getLogger("ingot.tuning")


@dataclass(frozen=True)
class Subject:
    """What a choice is for: a plan, its weights, and its kernels as they run here.

    `families` are those that leave a choice; `code` tells the kernels' code from other code.
    """

    document: Mapping[str, Any]
    weights: Mapping[str, NDArray[np.uint8]]
    families: Mapping[str, Family]
    level: str
    code: str


def choose(
    subject: Subject, resolve: Resolve, threads: int, cache: TuningCache | None = None
) -> Choices:
    """Return which kernels serve which numbers of rows; none where INGOT_TUNING is off.

    Bits do not depend on the choice.  A measurement takes about 0.3 s.
    """
    families = subject.families
    if not families or not TUNING.get():
        return NO_CHOICES
    cache = cache or default_cache()
    key = key_of(subject.level, threads, subject.code)
    choices = cache.get(key, families)
    if choices is None:
        resolve(subject.document)  # what is malformed is refused before it is measured
        begin = time.perf_counter()
        choices = measure(subject.document, families, subject.weights, resolve, threads)
        cache.put(key, choices)
        log.info("measured the kernels of %s in %.2f s", subject.level, time.perf_counter() - begin)
    for choice in choices.values():
        log.info("kernels by rows: %s", describe(choice))
    return choices


def describe(choice: Choice) -> str:
    """Return a choice as one line of text."""
    return ", ".join(f"{symbol} to {rows or 'any'}" for rows, symbol in choice)
