"""Where the time of a step goes: every kind of launch with its share, its bytes and its work.

Runs steps of a compiled artifact on the native executor, times every launch, and prints a table
for each kind of step: milliseconds, share of the step, what it reads a second and what part that is
of the read bandwidth, what it computes and what part that is of the peak (dot products of int8
or bfloat16, or float multiply-adds).  Launches of one kernel and one size are
one row; times are medians over the steps and hold the waits for other threads.

    python benchmarks/step_profile.py ARTIFACT [--threads 2] [--steps decode:512,prefill:512]

A step is `decode:CONTEXT` (one sequence), `batch:SEQUENCES` (each with `--batch-context` tokens)
or `prefill:TOKENS`.
"""

import argparse
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from limits import LIMIT_KERNELS, Limits, Peak, Team, aligned, best_of, load, measure_limits

from ingot.runtime import Artifact, StepBatch
from ingot.runtime.artifact_format import CPU_PLAN
from ingot.runtime.native_executor import NativeExecutor
from ingot.runtime.tuning import Choices
from ingot.runtime.tuning.choice import serving
from ingot.targets.cpu.levels import level_named

PAGE = 16
PANEL = 16
POOL_BYTES = 320_000_000
STEPS = "decode:512,decode:4096,prefill:512,batch:8,batch:16"


@dataclass(frozen=True)
class Cost:
    """What one launch reads (bytes of weights and of KV cache) and computes (operations)."""

    bytes: int
    operations: int
    peak: Peak


@dataclass(frozen=True)
class Row:
    """One kind of launch in a step."""

    kind: str
    count: int
    seconds: float
    wait: float
    cost: Cost


class Costs:
    """Reads the plan of an artifact and says what its launches cost."""

    def __init__(self, artifact: Artifact, choices: Choices) -> None:
        self._choices = choices
        self.plan: dict[str, Any] = artifact.read_json(CPU_PLAN)
        self.launches: dict[str, dict[str, Any]] = {
            launch["name"]: launch for launch in self.plan["launches"]
        }
        self._attention: Peak = "bf16" if self.plan["kv_cache"]["dtype"] == "bfloat16" else "fma"
        self._sizes = {name: weight.nbytes for name, weight in artifact.weights.items()}

    def kind(self, name: str, rows: Mapping[str, int]) -> str:
        """The kernel that a launch runs, with its number of outputs where that is fixed."""
        launch = self.launches[name]
        units = launch["units"].get("count")
        return self._symbol(launch, rows) + (f" n{PANEL * units}" if units else "")

    def cost(self, name: str, rows: Mapping[str, int], attended: int, keys: int) -> Cost:
        """`attended`: sum over tokens of the tokens that each sees; `keys`: over sequences."""
        launch = self.launches[name]
        symbol, count = self._symbol(launch, rows), rows[launch["rows"]]
        if "tasks" in launch["units"]:
            heads, head_dim = (int(found) for found in _numbers(symbol, r"_(\d+)_\d+_(\d+)"))
            return Cost(
                self._kv_bytes(launch) * keys, 4 * heads * head_dim * attended, self._attention
            )
        weights = sum(self._sizes[slot[1]] for slot in launch["slots"] if slot[0] == "weight")
        if "count" not in launch["units"]:
            return Cost(0, 0, "fma")
        [k] = _numbers(symbol, r"_k(\d+)") or ["0"]
        outputs = PANEL * launch["units"]["count"]
        peak: Peak = "dot" if "_q" in symbol else "bf16" if "_pairs_" in symbol else "fma"
        return Cost(weights, 2 * outputs * int(k) * count, peak)

    def _kv_bytes(self, launch: Mapping[str, Any]) -> int:
        """Bytes of one token in the pools that a launch reads."""
        layers = self.plan["kv_cache"]["layers"]
        read = (layers[slot[1]] for slot in launch["slots"] if slot[0] == "kv")
        return sum(int(layer["bytes_per_page"]) for layer in read) // PAGE

    def _symbol(self, launch: Mapping[str, Any], rows: Mapping[str, int]) -> str:
        count = rows[launch["rows"]]
        chosen = serving(launch, self._choices)
        return next(kernel for most, kernel in chosen if most is None or count <= most)


def _numbers(symbol: str, pattern: str) -> Sequence[str]:
    found = re.search(pattern, symbol)
    return found.groups() if found else ()


class Steps:
    """Sequences with filled caches, and the steps that are measured on them."""

    def __init__(self, executor: NativeExecutor) -> None:
        self._executor = executor
        self._random = np.random.default_rng(0)

    def make(self, kind: str, number: int, batch_context: int) -> StepBatch:
        """Fill the cache up to the step `kind:number`, and return the step."""
        if kind == "prefill":
            return self._batch([0], number)
        lengths = [number] if kind == "decode" else [batch_context] * number
        chunk = self._executor.limits.max_step_tokens
        for sequence, length in enumerate(lengths):
            for start in range(0, length, chunk):
                tokens = min(chunk, length - start)
                self._executor.step(self._batch([start], tokens, sequence, pages(length + 1)))
        return self._batch(lengths, 1)

    def _batch(self, lengths: list[int], tokens: int, first: int = 0, blocks: int = 0) -> StepBatch:
        """`tokens` more for each sequence; sequences have ranges of `blocks` pages."""
        blocks = blocks or pages(max(lengths) + tokens)
        count = len(lengths)
        table = np.arange(first * blocks, (first + count) * blocks).reshape(count, blocks)
        ids = self._random.integers(0, self._executor.limits.vocab_size, count * tokens)
        positions = np.array(lengths)[:, None] + np.arange(tokens)
        return StepBatch(
            token_ids=ids.astype(np.int32),
            positions=positions.reshape(-1).astype(np.int32),
            starts=np.arange(0, count * tokens + 1, tokens, dtype=np.int32),
            block_tables=table.astype(np.int32),
            row_ids=np.arange(tokens - 1, count * tokens, tokens, dtype=np.int32),
        )


def pages(tokens: int) -> int:
    """Return how many pages hold so many tokens."""
    return -(-tokens // PAGE)


def profile(executor: NativeExecutor, costs: Costs, batch: StepBatch, repeats: int) -> list[Row]:
    """Run a step again and again; returns the kinds of launches, the most expensive first."""
    executor.set_profiling(True)
    for _ in range(2):
        executor.step(batch)
    times: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repeats):
        executor.step(batch)
        for (name, seconds), wait in zip(
            executor.last_profile(), executor.last_waits(), strict=True
        ):
            times.setdefault(name, []).append((seconds, wait))
    executor.set_profiling(False)
    counts = {"tokens": len(batch.token_ids), "rows": len(batch.row_ids)}
    ends = batch.positions[batch.starts[1:] - 1] + 1
    attended, keys = int((batch.positions + 1).sum()), int(ends.sum())
    kinds: dict[str, list[str]] = {}
    for name in times:
        kinds.setdefault(costs.kind(name, counts), []).append(name)
    rows = []
    for kind, names in kinds.items():
        parts = [costs.cost(name, counts, attended, keys) for name in names]
        seconds, wait = (
            sum(statistics.median(time[i] for time in times[name]) for name in names)
            for i in range(2)
        )
        total = Cost(
            sum(part.bytes for part in parts),
            sum(part.operations for part in parts),
            parts[0].peak,
        )
        rows.append(Row(kind, len(names), seconds, wait, total))
    return sorted(rows, key=lambda row: -row.seconds)


def print_table(title: str, rows: Sequence[Row], limits: Limits, tokens: int) -> None:
    """Print one step."""
    total = sum(row.seconds for row in rows)
    print(f"\n{title}: {1e3 * total:.2f} ms, {tokens / total:.1f} tokens/s")
    print(f"{'launches of':42} {'n':>4} {'ms':>8} {'%':>5} {'wait':>6} ", end="")
    print(f"{'GB/s':>6} {'% read':>6} {'GOP/s':>7} {'% peak':>6}")
    # All is compared with the peak of what computes most.
    most = max(rows, key=lambda row: row.cost.operations).cost.peak
    whole = Cost(
        sum(row.cost.bytes for row in rows), sum(row.cost.operations for row in rows), most
    )
    everything = Row("all", sum(r.count for r in rows), total, sum(r.wait for r in rows), whole)
    for row in (*rows, everything):
        gigabytes = 1e-9 * row.cost.bytes / row.seconds
        operations = 1e-9 * row.cost.operations / row.seconds
        peak = getattr(limits, row.cost.peak)
        print(
            f"{row.kind:42} {row.count:4} {1e3 * row.seconds:8.3f} {100 * row.seconds / total:5.1f}"
            f" {1e3 * row.wait:6.3f}  {gigabytes:6.1f} {100 * gigabytes / limits.read:6.0f}"
            f" {operations:7.1f} {100 * operations / peak:6.0f}"
        )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--steps", default=STEPS)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch-context", type=int, default=128)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    wanted = [step.partition(":") for step in options.steps.split(",")]
    artifact = Artifact.open(options.artifact)
    executor = NativeExecutor(artifact, threads=options.threads)
    costs, steps = Costs(artifact, executor.choices), Steps(executor)
    code, team, pool = (
        load(LIMIT_KERNELS, level_named(executor.level)),
        Team(executor.threads, "wall"),
        aligned(POOL_BYTES),
    )
    pool[:] = 1
    for kind, _, number in wanted:
        batch = steps.make(kind, int(number), options.batch_context)
        before = [measure_limits(code, team, pool) for _ in range(3)]
        rows = profile(executor, costs, batch, options.repeats)
        limits = best_of([*before, *(measure_limits(code, team, pool) for _ in range(3))])
        print_table(f"{kind} {number}", rows, limits, len(batch.token_ids))
        print(f"limits on {executor.threads} threads: {limits}")
    executor.close()


if __name__ == "__main__":
    main()
