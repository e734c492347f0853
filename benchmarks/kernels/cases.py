"""What is measured of each family, and what each launch reads and computes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limits import Peak

from ingot.runtime.tuning.choice import family_of
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS, KvDtype

from . import modules
from .steps import Built, build, run

ENCODINGS = (
    "int4-g32",
    "int4-g32-sym",
    "int4-g128",
    "int4-g128-sym",
    "int4-g32-min",
    "int8-g32",
    "int8",
    "bfloat16",
    "float32",
)
PEAKS: Mapping[str, Peak] = {"bfloat16": "bf16", "float32": "fma"}
"""What linears of floats are compared with; those of integers with `dot`."""
POOL_BYTES = 64 << 20
"""Weights or caches of a case together: more than a cache holds."""


@dataclass(frozen=True)
class Result:
    """A launch as measured: what it read and computed, in how many seconds."""

    name: str
    bytes: int
    operations: int
    peak: Peak
    seconds: float


@dataclass(frozen=True)
class Setting:
    """How to measure: the level, the size of the team and how many rounds."""

    level: Level
    threads: int
    rounds: int


def linear_cases(
    setting: Setting, encoding: str, k: int, n: int, rows: Sequence[int]
) -> Iterator[Result]:
    """Every kernel that may serve each number of rows, taking turns on several weights."""
    bits = {"bfloat16": 16, "float32": 32}.get(encoding, 5 if "int4" in encoding else 8)
    count = max(4, POOL_BYTES // (n * k * bits // 8))
    built = build(modules.linears(encoding, k, n, count), setting.level)
    listed = [one for one in built.document["launches"] if "count" in one["units"]][:count]
    peak = PEAKS.get(encoding, "dot")
    for number in rows:
        family = family_of(listed[0]).among(built.kernels.symbols)
        symbols = family.candidates(number)
        trials = [
            (symbols[(place + turn) % len(symbols)], launch)
            for turn in range(len(symbols))
            for place, launch in enumerate(listed)
        ]
        launches = [{**one, "kernels": [[None, symbol]], "barrier": True} for symbol, one in trials]
        times = run(built, launches, [0] * number, 1, setting.threads, setting.rounds)
        for symbol in symbols:
            taken = [t for t, (name, _) in zip(times, trials, strict=True) if name == symbol]
            size = built.weight_bytes(listed[0])
            seconds = sum(taken) / len(taken)
            yield Result(f"{symbol} n{n} x{number}", size, 2 * n * k * number, peak, seconds)


def attention_cases(
    setting: Setting, group: int, kv_dtype: KvDtype, contexts: Sequence[int], prefill: int
) -> Iterator[Result]:
    """One token at each of several contexts, then a first chunk of `prefill` tokens."""
    kv_heads, head_dim, layers = 2, 64, 8
    heads = group * kv_heads
    built = build(modules.attention(heads, kv_heads, head_dim, layers), setting.level, kv_dtype)
    page = built.document["kv_cache"]["layers"][0]["bytes_per_page"]
    steps = [(context, 1) for context in contexts] + [(0, prefill)]
    for context, tokens in steps:
        attended = sum(context + i + 1 for i in range(tokens))
        cost = page * (context + tokens) // PAGE_TOKENS, 4 * heads * head_dim * attended
        row = 8 * head_dim * (heads + 2 * kv_heads)
        costs = {"attention": cost, "kv_write": (row * tokens, 0), "rope_\\d": (row * tokens, 0)}
        title = f"{kv_dtype} at {context}" if context else f"{kv_dtype} of {tokens}"
        peak: Peak = "bf16" if kv_dtype == "bfloat16" else "fma"
        yield from _by_kernel(setting, built, costs, [context], tokens, title, peak)


def rowwise_cases(setting: Setting, features: int, hidden: int, rows: int) -> Iterator[Result]:
    """Norms, rounding and gated units over some rows; they are read and written in a cache."""
    built = build(modules.rowwise(features, hidden), setting.level)
    row = 4 * features * rows
    costs = {
        "rms_norm_\\d+_\\d+_\\w*add": (3 * row + row // 4, 0),
        "rms_norm": (2 * row, 0),
        "round": (row + row // 4, 0),
        "glu": (4 * hidden * rows * 2 + hidden * rows, 0),
    }
    yield from _by_kernel(setting, built, costs, [0] * rows, 1, f"x{rows}")


def embedding_cases(setting: Setting, encoding: str, features: int, rows: int) -> Iterator[Result]:
    """Rows of a table of 64 rows, gathered and decoded."""
    built = build(modules.embeddings(encoding, features, 64), setting.level)
    costs = {f"embedding_q\\w+_k{features}": (4 * features * rows, 0)}
    yield from _by_kernel(setting, built, costs, [0] * rows, 1, f"x{rows}")


def _by_kernel(
    setting: Setting,
    built: Built,
    costs: Mapping[str, tuple[int, int]],
    lengths: Sequence[int],
    tokens: int,
    title: str,
    peak: Peak = "fma",
) -> Iterator[Result]:
    """Run the whole plan; yield one result a kernel that `costs` has a pattern for."""
    launches = [
        {**one, "kernels": [[None, _serving(one, lengths, tokens)]], "barrier": True}
        for one in _all(built)
    ]
    times = run(built, launches, lengths, tokens, setting.threads, setting.rounds)
    taken: dict[str, list[float]] = {}
    for launch, seconds in zip(launches, times, strict=True):
        taken.setdefault(launch["kernels"][0][1], []).append(seconds)
    for symbol, seconds_each in taken.items():
        cost = next((c for p, c in costs.items() if re.match(p, symbol)), None)
        if cost is not None:
            mean = sum(seconds_each) / len(seconds_each)
            yield Result(f"{symbol} {title}", *cost, peak, mean)


def _all(built: Built) -> Sequence[Mapping[str, Any]]:
    launches: Sequence[Mapping[str, Any]] = built.document["launches"]
    return launches


def _serving(launch: Mapping[str, Any], lengths: Sequence[int], tokens: int) -> str:
    rows = len(lengths) * (tokens if launch["rows"] == "tokens" else 1)
    return next(s for most, s in family_of(launch).default if most is None or rows <= most)
