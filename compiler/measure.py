"""How fast an artifact should run on this machine by its bandwidth, and how fast it runs."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from ingot.runtime.artifact import Artifact
from ingot.runtime.cpu_level import supported_levels
from ingot.runtime.executor import StepBatch
from ingot.runtime.machine import usable_threads
from ingot.runtime.native_executor import NativeExecutor

from .report import Report, Speed

_READ_BYTES = 64 << 20
_PROMPT = 128
_DECODED = 24


def measure_speed(report: Report) -> Report:
    """Return the report with estimated and, where this machine runs it, measured speed."""
    bandwidth = read_bandwidth(usable_threads())
    speed = Speed(bandwidth, estimated=bandwidth / report.step_bytes)
    if set(report.levels) & set(supported_levels()):
        prefill, decode = _run(report.artifact)
        speed = replace(speed, prefill=prefill, decode=decode)
    return replace(report, speed=speed)


def read_bandwidth(threads: int, repeats: int = 3) -> float:
    """Return bytes a second that `threads` threads together read from memory: the best of some."""
    arrays = [np.ones(_READ_BYTES // 8) for _ in range(threads)]
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            start = time.perf_counter()
            list(pool.map(np.max, arrays))
            best = max(best, threads * _READ_BYTES / (time.perf_counter() - start))
    return best


def _run(path: Path) -> tuple[float, float | None]:
    """Return tokens a second of a prefill and of decoding after it, for one sequence.

    A model that pools decodes nothing: None.
    """
    executor = NativeExecutor(Artifact.open(path, verify=False), kv_pages=32)
    try:
        room = min(executor.limits.max_positions, executor.limits.max_step_tokens)
        prompt = max(1, min(_PROMPT, room - _DECODED))
        executor.step(_step(prompt, 0))
        start = time.perf_counter()
        executor.step(_step(prompt, 0))
        prefill = prompt / (time.perf_counter() - start)
        if executor.limits.row_width:
            return prefill, None
        seconds = []
        for position in range(prompt, min(prompt + _DECODED, room)):
            start = time.perf_counter()
            executor.step(_step(1, position))
            seconds.append(time.perf_counter() - start)
        decode = 1 / float(np.median(seconds)) if seconds else 0.0
    finally:
        executor.close()
    return prefill, decode


def _step(tokens: int, first: int) -> StepBatch:
    """Return `tokens` tokens of one sequence from position `first` on; logits of the last."""
    pages = -(-(first + tokens) // 16)
    return StepBatch(
        token_ids=np.zeros(tokens, np.int32),
        positions=np.arange(first, first + tokens, dtype=np.int32),
        starts=np.array([0, tokens], np.int32),
        block_tables=np.arange(pages, dtype=np.int32).reshape(1, -1),
        row_ids=np.array([tokens - 1], np.int32),
    )
