"""The limits of this machine, by kernels of our own: memory bandwidth and arithmetic peaks."""

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, Literal

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from ingot.runtime._native import CodeObject
from ingot.targets.cpu.build import F32, I8, I32, I64, Value, constant, loop
from ingot.targets.cpu.codegen import compile_kernels
from ingot.targets.cpu.kernel import SCRATCH_BYTES, Arguments, Kernel, Slot
from ingot.targets.cpu.kernels.linear.ahead import BlockAhead
from ingot.targets.cpu.kernels.linear.schedule import BLOCK_AHEAD
from ingot.targets.cpu.levels import LEVELS, Level

CHAINS = 12
PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
Peak = Literal["dot", "fma", "bf16"]
"""The limit of `Limits` that a kernel's arithmetic is compared with."""
Share = Callable[[int, int], None]
"""Called on each thread with its number and the address of its scratch."""


def best_level() -> Level:
    """Return the most demanding level that this machine has."""
    host = llvm.get_host_cpu_features()
    return [lv for lv in LEVELS if all(host.get(name, False) for name in lv.features)][-1]


def read_body(
    _: Level, arguments: Arguments, *, near: int = 0, ahead: BlockAhead | None = None
) -> None:
    """Read lines of 64 bytes, eight at a time, asked for `near` bytes or as `ahead` says before."""
    x, lanes = arguments.pointer("x"), I64.x(8)
    with loop(arguments.begin, arguments.end, 8, [constant(lanes, 0)] * 8) as lines:
        at = x.at(lines.index * 64)
        for line in range(8 if near else 0):
            at.prefetch(near + 64 * line)
        if ahead:
            ahead.before_block(at, 0, 8 * 64)
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


def bf16_body(level: Level, arguments: Arguments) -> None:
    """Independent chains of dot products of pairs of bfloat16, from registers."""
    a, b = arguments.scratch.load(I32.x(16)), arguments.scratch.load(I32.x(16), 64)
    zero = constant(F32.x(16), 0.0)
    with loop(arguments.begin, arguments.end, 1, [zero] * CHAINS) as turns:
        turns.carry(*(level.dot_bf16(chain, a, b) for chain in turns.carried))
    arguments.scratch.store(sum_of(turns.results))


def sum_of(values: Sequence[Value]) -> Value:
    """Use every value, so that none is optimised away."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


# Which of these reads fastest changes with what else the machine does.
READS: dict[str, Callable[[Level, Arguments], None]] = {
    "read": read_body,
    "read_near": partial(read_body, near=4096),
    "read_ahead": partial(read_body, ahead=BLOCK_AHEAD),
}
LIMIT_KERNELS = [
    *(Kernel(name, (Slot("x"),), body) for name, body in READS.items()),
    Kernel("dot", (), dot_body),
    Kernel("fma", (), fma_body),
    Kernel("bf16", (), bf16_body),
]


@dataclass(frozen=True)
class Code:
    """Kernels in memory."""

    functions: Mapping[str, Callable[[int, int, int, int], None]]
    keep: Any


def load(kernels: Sequence[Kernel], level: Level) -> Code:
    """Compile kernels and link them into this process."""
    linked = CodeObject(compile_kernels(kernels, level))
    functions = {kernel.name: PROTOTYPE(linked.functions[kernel.name]) for kernel in kernels}
    return Code(functions, linked)


class Team:
    """Threads that are pinned to a core each and run one function together.

    `clock` is "wall", or "cpu": the time that the slowest thread had its core, which other work on
    the machine lengthens less.
    """

    def __init__(self, size: int, clock: str) -> None:
        self.size, self._clock = size, clock
        self._wall, self._used = [(0.0, 0.0)] * size, [0.0] * size
        self._start, self._end = threading.Barrier(size + 1), threading.Barrier(size + 1)
        self._share: Share = lambda thread, scratch: None
        for number, core in enumerate(sorted(os.sched_getaffinity(0))[:size]):
            threading.Thread(target=self._work, args=(number, core), daemon=True).start()

    def _work(self, number: int, core: int) -> None:
        os.sched_setaffinity(0, {core})
        scratch = aligned(SCRATCH_BYTES)
        while True:
            self._start.wait()
            begin, used = time.perf_counter(), time.thread_time()
            self._share(number, scratch.ctypes.data)
            self._used[number] = time.thread_time() - used
            self._wall[number] = begin, time.perf_counter()
            self._end.wait()

    def seconds(self, share: Share) -> float:
        """Run `share` on every thread and return the time from the first start to the last end.

        The threads take the time: the one that waits for them may get a core only when they end.
        """
        self._share = share
        self._start.wait()
        self._end.wait()
        begins, ends = zip(*self._wall, strict=True)
        return max(ends) - min(begins) if self._clock == "wall" else max(self._used)

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
    """What the machine can do: GB/s, and GOP/s of dot products and of float multiply-adds.

    `bf16` is that of dot products of bfloat16, made of float multiply-adds where the processor has
    no instruction for them.
    """

    read: float
    dot: float
    fma: float
    bf16: float = 0.0

    def __str__(self) -> str:
        """Return them as a line of text."""
        return (
            f"read {self.read:.1f} GB/s, int8 {self.dot:.0f} GOP/s, "
            f"bfloat16 {self.bf16:.0f}, float32 {self.fma:.0f} GFLOP/s"
        )


def best_of(found: Iterable[Limits]) -> Limits:
    """Return the highest of each limit: whatever else runs can only lower them."""
    return Limits(*map(max, zip(*map(astuple, found), strict=True)))


def measure_limits(code: Code, team: Team, pool: NDArray[np.uint8]) -> Limits:
    """Measure the limits; the read is the best of several loops."""
    lines, turns = pool.size // 64 // 8 * 8, 400_000
    slots = slots_of(pool)

    def timed(name: str, units: int | None) -> float:
        function = code.functions[name]

        def share(thread: int, scratch: int) -> None:
            begin, end = (0, units) if units else team.part(lines // 8, thread)
            scale = 1 if units else 8
            function(slots.ctypes.data, begin * scale, end * scale, scratch)

        return team.seconds(share)

    seconds = min(timed(name, None) for name in READS)
    work = 2e-9 * CHAINS * turns * team.size
    dot, fma = work * 64 / timed("dot", turns), work * 16 / timed("fma", turns)
    bf16 = work * 32 / timed("bf16", turns)
    return Limits(lines * 64e-9 / seconds, dot, fma, bf16)
