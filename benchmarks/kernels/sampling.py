"""The sampler on rows of logits."""

import statistics
import time
from collections.abc import Iterator

import numpy as np

from ingot.runtime import _native

from .cases import Result


def sampling_cases(vocabulary: int, rounds: int) -> Iterator[Result]:
    """One row, greedily and by the usual filters."""
    logits = np.random.default_rng(0).normal(size=(1, vocabulary)).astype(np.float32)
    kinds = {
        "greedy": _native.SamplerParams(temperature=0.0),
        "top-p": _native.SamplerParams(temperature=0.8, top_p=0.95),
        "top-k 40": _native.SamplerParams(temperature=0.8, top_k=40),
    }
    for name, params in kinds.items():
        state = _native.SamplerState(params, vocabulary, np.zeros(0, np.int32))
        times = []
        for _ in range(rounds + 1):
            begin = time.perf_counter()
            state.sample(logits[0])
            times.append(time.perf_counter() - begin)
        seconds = statistics.median(times[1:])
        yield Result(f"sample a row of {vocabulary}: {name}", 4 * vocabulary, 0, "fma", seconds)
