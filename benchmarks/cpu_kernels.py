"""Every family of CPU kernels beside the limits of this machine.

For each kernel prints what it reads a second and what part that is of the read bandwidth, what it
computes and what part that is of the arithmetic peak; the last column is the larger of both: the
fraction of its own limit.  Kernels that may serve the same rows take turns, so that their ratio
holds whatever else the machine does; limits are measured before and after each family.  What a
cache holds (rows of activations) can be read faster than memory.

    python benchmarks/cpu_kernels.py [--families linear,attention] [--encodings int4-g32] [--rows 8]
"""

import argparse
import os
from collections.abc import Iterable, Iterator

from kernels.cases import (
    ENCODINGS,
    Result,
    Setting,
    attention_cases,
    embedding_cases,
    linear_cases,
    rowwise_cases,
)
from kernels.sampling import sampling_cases
from limits import (
    LIMIT_KERNELS,
    Limits,
    Team,
    aligned,
    best_level,
    best_of,
    load,
    measure_limits,
)

from ingot.targets.cpu.levels import level_named
from ingot.targets.cpu.plan import KvDtype

FAMILIES = ("linear", "attention", "rowwise", "embedding", "sampling")
GROUPS = (1, 4, 7, 8)
KV_DTYPES: tuple[KvDtype, ...] = ("float32", "bfloat16", "int8")
POOL_BYTES = 200_000_000


def families(setting: Setting, options: argparse.Namespace) -> Iterator[Iterable[Result]]:
    """Yield the cases that were asked for, a family or a part of it at a time."""
    wanted = options.families.split(",")
    rows = [int(number) for number in options.rows.split(",")]
    if "linear" in wanted:
        for encoding in options.encodings.split(","):
            yield linear_cases(setting, encoding, options.k, options.n, rows)
    if "attention" in wanted:
        for kv_dtype in KV_DTYPES:
            for group in GROUPS:
                yield attention_cases(setting, group, kv_dtype, (512, 4096), 128)
    if "rowwise" in wanted:
        for number in rows:
            yield rowwise_cases(setting, options.k, options.n // 2, number)
    if "embedding" in wanted:
        for encoding in options.encodings.split(","):
            if encoding.startswith("int"):
                yield embedding_cases(setting, encoding, options.k, 16)
    if "sampling" in wanted:
        yield sampling_cases(151_936, 5 * setting.rounds)


def line(result: Result, limits: Limits) -> str:
    """Return the row of a kernel."""
    read = 1e-9 * result.bytes / result.seconds
    computed = 1e-9 * result.operations / result.seconds
    fractions = read / limits.read, computed / getattr(limits, result.peak)
    columns = f"{1e6 * result.seconds:9.1f} {read:6.1f} {100 * fractions[0]:5.0f} {computed:7.0f}"
    return f"{result.name:58} {columns} {100 * fractions[1]:5.0f} {100 * max(fractions):5.0f}"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--level", default=best_level().name, help="default: %(default)s")
    parser.add_argument("--encodings", default=",".join(ENCODINGS))
    parser.add_argument("--rows", default="1,2,4,8,16,128")
    parser.add_argument("--k", type=int, default=896)
    parser.add_argument("--n", type=int, default=9728)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Measure and print, a line a kernel."""
    options = parse_arguments()
    setting = Setting(level_named(options.level), options.threads, options.rounds)
    code, team = load(LIMIT_KERNELS, setting.level), Team(setting.threads, "wall")
    pool = aligned(POOL_BYTES)
    pool[:] = 1
    print(f"{options.level}, {options.threads} threads")
    print(f"{'kernel':58} {'µs':>9} {'GB/s':>6} {'%read':>5} {'GOP/s':>7} {'%peak':>5} {'%':>5}")
    for family in families(setting, options):
        before = [measure_limits(code, team, pool) for _ in range(2)]
        results = list(family)
        limits = best_of([*before, *(measure_limits(code, team, pool) for _ in range(2))])
        for result in results:
            print(line(result, limits), flush=True)
        print(f"  limits: {limits}", flush=True)


if __name__ == "__main__":
    main()
