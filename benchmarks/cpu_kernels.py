"""Linear kernels beside the limits of this machine: memory bandwidth and arithmetic peak.

For each packing and number of rows, on one and on two threads, prints what the weights stream
at and what part that is of the read bandwidth, what is computed and what part that is of the
peak, and which part of the time is the bound that these two limits set together.  Limits and
kernels take turns in one run, so that a change of the machine's mood meets both; every figure
is a median over the rounds.

    python benchmarks/cpu_kernels.py [--level avx512] [--packings q4z,q8c] [--rows 1,8,128]
"""

import argparse
import ctypes
import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import torch
from numpy.typing import NDArray

from ingot.ir import Encoding, quantize
from ingot.targets.cpu.build import F32, I8, I32, I64, Value, constant, loop
from ingot.targets.cpu.codegen import compile_kernels
from ingot.targets.cpu.kernel import SCRATCH_BYTES, Arguments, Kernel, Slot
from ingot.targets.cpu.kernels.linear import LinearShape, linear_kernels
from ingot.targets.cpu.kernels.rounding import float_row_bytes, round_kernel
from ingot.targets.cpu.levels import LEVELS, Level, level_named
from ingot.targets.cpu.packing import PACKINGS

CHAINS = 12
ENCODINGS = {"q4z": "int4-g32", "q4m": "int4-g32-min", "q8g": "int8-g32", "q8c": "int8"}
PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
Share = Callable[[int, int], None]
"""Called on each thread with its number and the address of its scratch."""


def read_body(_: Level, arguments: Arguments, *, ahead: int) -> None:
    """Read lines of 64 bytes, eight at a time."""
    x, lanes = arguments.pointer("x"), I64.x(8)
    with loop(arguments.begin, arguments.end, 8, [constant(lanes, 0)] * 8) as lines:
        at = x.at(lines.index * 64)
        for line in range(8 if ahead else 0):
            at.prefetch(ahead + 64 * line)
        loaded = [at.load(lanes, 64 * line, align=64) for line in range(8)]
        lines.carry(*(a | b for a, b in zip(lines.carried, loaded, strict=True)))
    arguments.scratch.store(sum_of(lines.results))


def dot_body(level: Level, arguments: Arguments) -> None:
    """Independent chains of dot products of bytes, from registers."""
    weights, words = arguments.scratch.load(I8.x(64)), arguments.scratch.load(I32.x(16), 64)
    zero = constant(I32.x(16), 0)
    with loop(arguments.begin, arguments.end, 1, [zero] * CHAINS) as turns:
        turns.carry(*(level.dot4(chain, weights, words, 15) for chain in turns.carried))
    arguments.scratch.store(sum_of(turns.results))


def fma_body(level: Level, arguments: Arguments) -> None:
    """Independent chains of multiply-adds, from registers."""
    a, b = arguments.scratch.load(F32.x(16)), arguments.scratch.load(F32.x(16), 64)
    zero = constant(F32.x(16), 0.0)
    with loop(arguments.begin, arguments.end, 1, [zero] * CHAINS) as turns:
        turns.carry(*(level.fma(a, b, chain) for chain in turns.carried))
    arguments.scratch.store(sum_of(turns.results))


def sum_of(values: Sequence[Value]) -> Value:
    """Use every value, so that none is optimised away."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


LIMIT_KERNELS = [
    Kernel("read", (Slot("x"),), partial(read_body, ahead=0)),
    Kernel("read_ahead", (Slot("x"),), partial(read_body, ahead=4096)),
    Kernel("dot", (), dot_body),
    Kernel("fma", (), fma_body),
]


@dataclass(frozen=True)
class Code:
    """Kernels in memory."""

    functions: Mapping[str, Callable[[int, int, int, int], None]]
    keep: Any


def load(kernels: Sequence[Kernel], level: Level) -> Code:
    """Compile kernels and link them into this process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_lljit_compiler(machine)
    builder = llvm.JITLibraryBuilder().add_object_img(compile_kernels(kernels, level))
    for kernel in kernels:
        builder.export_symbol(kernel.name)
    library = builder.add_current_process().link(engine, "kernels")
    functions = {kernel.name: PROTOTYPE(library[kernel.name]) for kernel in kernels}
    return Code(functions, (engine, library))


class Team:
    """Threads that are pinned to a core each and run one function together.

    `clock` is "wall", or "cpu": the time that the slowest thread had its core, which other work on
    the machine lengthens less.
    """

    def __init__(self, size: int, clock: str) -> None:
        self.size, self._clock, self._used = size, clock, [0.0] * size
        self._start, self._end = threading.Barrier(size + 1), threading.Barrier(size + 1)
        self._share: Share = lambda thread, scratch: None
        for number, core in enumerate(sorted(os.sched_getaffinity(0))[:size]):
            threading.Thread(target=self._work, args=(number, core), daemon=True).start()

    def _work(self, number: int, core: int) -> None:
        os.sched_setaffinity(0, {core})
        scratch = aligned(SCRATCH_BYTES)
        while True:
            self._start.wait()
            begin = time.thread_time()
            self._share(number, scratch.ctypes.data)
            self._used[number] = time.thread_time() - begin
            self._end.wait()

    def seconds(self, share: Share) -> float:
        """Run `share` on every thread and return the time until the last has finished."""
        self._share = share
        self._start.wait()
        begin = time.perf_counter()
        self._end.wait()
        wall = time.perf_counter() - begin
        return wall if self._clock == "wall" else max(self._used)

    def part(self, units: int, thread: int) -> tuple[int, int]:
        """Return the share of `units` of a thread."""
        return units * thread // self.size, units * (thread + 1) // self.size


def aligned(size: int) -> NDArray[np.uint8]:
    """Return zeroed bytes at a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def slots_of(*values: "int | NDArray[Any]") -> NDArray[np.int64]:
    """Return the slot array of a kernel; an array stands for its address."""
    return np.array([v if isinstance(v, int) else v.ctypes.data for v in values], np.int64)


@dataclass(frozen=True)
class Limits:
    """What the machine can do: GB/s, and GOP/s of dot products and of float multiply-adds."""

    read: float
    dot: float
    fma: float


def measure_limits(code: Code, team: Team, pool: NDArray[np.uint8]) -> Limits:
    """Measure the limits; the read is the better of two loops."""
    lines, turns = pool.size // 64 // 8 * 8, 400_000
    slots = slots_of(pool)

    def timed(name: str, units: int | None) -> float:
        function = code.functions[name]

        def share(thread: int, scratch: int) -> None:
            begin, end = (0, units) if units else team.part(lines // 8, thread)
            scale = 1 if units else 8
            function(slots.ctypes.data, begin * scale, end * scale, scratch)

        return team.seconds(share)

    seconds = min(timed("read", None), timed("read_ahead", None))
    work = 2e-9 * CHAINS * turns * team.size
    dot, fma = work * 64 / timed("dot", turns), work * 16 / timed("fma", turns)
    return Limits(lines * 64e-9 / seconds, dot, fma)


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
    host = llvm.get_host_cpu_features()
    best = [lv.name for lv in LEVELS if all(host.get(name, False) for name in lv.features)][-1]
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
