"""Linear kernels beside the limits of this machine: memory bandwidth and arithmetic peak.

For each packing and number of rows, on one and on two threads, prints what the weights stream
at and what part that is of the read bandwidth, what is computed and what part that is of the
peak, and which part of the time is the bound that these two limits set together.  Limits and
kernels take turns in one run, so that a change of the machine's mood meets both; every figure
is a median over the rounds.

    python benchmarks/cpu_kernels.py [--level avx512] [--packings q4z,q8c] [--rows 1,8,128]
"""

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from limits import (
    LIMIT_KERNELS,
    Code,
    Limits,
    Team,
    aligned,
    best_level,
    load,
    measure_limits,
    slots_of,
)
from numpy.typing import NDArray

from ingot.ir import Encoding, quantize
from ingot.targets.cpu.kernels.linear import LinearShape, linear_kernels
from ingot.targets.cpu.kernels.rounding import float_row_bytes, round_kernel
from ingot.targets.cpu.levels import level_named
from ingot.targets.cpu.packing import PACKINGS

ENCODINGS = {"q4z": "int4-g32", "q4m": "int4-g32-min", "q8g": "int8-g32", "q8c": "int8"}


@dataclass(frozen=True)
class Case:
    """One packing and number of rows over as many matrices as the pool holds."""

    packing: str
    rows: int
    function: Callable[[int, int, int, int], None]
    slots: list[NDArray[np.int64]]
    panels: int
    bytes_each: int
    operations_each: int
    keep: Any

    def seconds(self, team: Team) -> float:
        """Run all matrices once."""

        def share(thread: int, scratch: int) -> None:
            begin, end = team.part(self.panels, thread)
            for slots in self.slots:
                self.function(slots.ctypes.data, begin, end, scratch)

        return team.seconds(share)


def fill(pool: NDArray[np.uint8], packing: str, k: int) -> None:
    """Fill the pool with copies of a packed random weight."""
    weight = torch.randn(256, k, generator=torch.Generator().manual_seed(0)) * 0.05
    name = ENCODINGS.get(packing)
    quantised = quantize(weight, Encoding.parse(name)) if name else weight
    data = PACKINGS[packing].pack(quantised).numpy()
    whole = pool.size // data.size * data.size
    pool[:whole].reshape(-1, data.size)[:] = data


def activations(code: Code, shape: LinearShape, rows: int) -> NDArray[np.uint8]:
    """Return random activations for the rows rounded up to 16, as the kernels read them."""
    capacity = -(-rows // 16) * 16
    stride = float_row_bytes(shape.k)
    floats = aligned(capacity * stride)
    values = np.random.default_rng(0).normal(size=(capacity, shape.k)).astype(np.float32)
    floats.view(np.float32).reshape(capacity, -1)[:, : shape.k] = values
    if not shape.is_integer:
        return floats
    rounded = aligned(capacity * shape.row_bytes)
    slots = slots_of(floats, stride, rounded, shape.row_bytes)
    code.functions[round_kernel(shape.k).name](slots.ctypes.data, 0, capacity, 0)
    return rounded


def make_case(code: Code, pool: NDArray[np.uint8], packing: str, rows: int, k: int, n: int) -> Case:
    """Prepare a case; about a tenth of a second of work on one thread of an ordinary machine."""
    shape = LinearShape(packing, k, False)
    variants = linear_kernels(packing, k, bias=False)
    variant = next(v for v in variants if v.max_rows is None or v.max_rows >= rows)
    each = PACKINGS[packing].packed_bytes(n, k)
    x = activations(code, shape, rows)
    y = aligned(-(-rows // 16) * 16 * n * 4)
    count = max(1, min(pool.size // each, int(3e10 / (2 * n * k * rows))))
    slots = [slots_of(x, pool[i * each :], y, 4 * n, rows) for i in range(count)]
    function = code.functions[variant.kernel.name]
    return Case(packing, rows, function, slots, n // 16, each, 2 * n * k * rows, (x, y))


def report(case: Case, limits: Sequence[Limits], seconds: Sequence[float]) -> str:
    """Return the columns of one case: medians of figures and of fractions taken round by round."""
    count = len(case.slots)
    rounds = []
    for limit, time_taken in zip(limits, seconds, strict=True):
        streamed = case.bytes_each * count * 1e-9 / time_taken
        computed = case.operations_each * count * 1e-9 / time_taken
        peak = limit.dot if case.packing.startswith("q") else limit.fma
        fractions = streamed / limit.read, computed / peak
        rounds.append((streamed, 100 * fractions[0], computed, 100 * fractions[1]))
    streamed, read, computed, peak = (statistics.median(c) for c in zip(*rounds, strict=True))
    bound = max(read, peak)
    return f"{streamed:6.1f} GB/s {read:4.0f}% {computed:6.0f} GOP/s {peak:4.0f}% {bound:4.0f}%"


def parse_arguments() -> argparse.Namespace:
    best = best_level().name
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--level", default=best, help="instruction set (default: %(default)s)")
    parser.add_argument("--packings", default=",".join(PACKINGS))
    parser.add_argument("--rows", default="1,2,4,8,16,128")
    parser.add_argument("--k", type=int, default=2048)
    parser.add_argument("--n", type=int, default=8192)
    parser.add_argument("--pool", type=int, default=256, help="MB of weights")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Measure and print, a line a case."""
    options = parse_arguments()
    level = level_named(options.level)
    packings = options.packings.split(",")
    rows = [int(number) for number in options.rows.split(",")]
    kernels = [v.kernel for p in packings for v in linear_kernels(p, options.k, bias=False)]
    code = load([*LIMIT_KERNELS, round_kernel(options.k), *kernels], level)
    pool = aligned(options.pool * 1_000_000)
    teams = [Team(size, options.clock) for size in (1, 2) if size <= len(os.sched_getaffinity(0))]
    print(f"{level.name}, K={options.k} N={options.n}; for 1 and 2 threads: weights streamed,")
    print("% of read bandwidth, computed, % of arithmetic peak, the larger of both")
    for packing in packings:
        fill(pool, packing, options.k)
        for count in rows:
            case = make_case(code, pool, packing, count, options.k, options.n)
            columns = []
            for team in teams:
                case.seconds(team)
                limits, seconds = [], []
                for _ in range(options.rounds):
                    limits.append(measure_limits(code, team, pool))
                    seconds.append(case.seconds(team))
                columns.append(report(case, limits, seconds))
            print(f"{packing:5} {count:4} rows | " + " | ".join(columns), flush=True)


if __name__ == "__main__":
    main()
