"""What the machine at hand can do, measured on the spot: for targets that run here.

Bandwidth is that of reading; arithmetic is that of independent chains of multiply-adds in
registers, by kernels that are generated as those of the CPU target are.
"""

import ctypes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ingot.compiler.measure import read_bandwidth
from ingot.runtime.cpu_level import supported_levels
from ingot.runtime.kernels import Kernels
from ingot.runtime.machine import available_memory, usable_threads
from ingot.targets import Hardware
from ingot.targets.cpu.build import F32, I8, I32, Value, constant, loop
from ingot.targets.cpu.codegen import compile_kernels
from ingot.targets.cpu.kernel import SCRATCH_BYTES, Arguments, Kernel
from ingot.targets.cpu.levels import Level, level_named

CHAINS = 12
TURNS = 200_000
LANES = 16
"""Lanes of a chain; each adds one product of floats, or four of bytes, a turn."""
REPEATS = 3
PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


def measure_machine() -> Hardware:
    """Return the numbers of this machine, all its usable cores together; takes about a second."""
    threads = usable_threads()
    level = level_named(supported_levels()[-1])
    names = ("multiply_add", "dot")
    kernels = [Kernel("multiply_add", (), _multiply_add), Kernel("dot", (), _dot)]
    loaded = Kernels(compile_kernels(kernels, level), names, where="the measurement")
    calls = {name: PROTOTYPE(loaded.addresses[name]) for name in names}
    turn = 2 * CHAINS * LANES * TURNS * threads
    return Hardware(
        name=f"this machine, {threads} cores",
        memory_bytes=available_memory(),
        memory_bandwidth=read_bandwidth(threads),
        flops={
            "float32": turn / _seconds(calls["multiply_add"], threads),
            "int8": 4 * turn / _seconds(calls["dot"], threads),
        },
        link_bandwidth=0.0,
        link_latency_s=0.0,
        source="measured",
    )


def _seconds(kernel: Callable[[int, int, int, int], None], threads: int) -> float:
    """Return the time in which every thread runs a kernel once: the best of some."""
    scratch = [np.zeros(SCRATCH_BYTES + 64, np.uint8) for _ in range(threads)]

    def run(one: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> None:
        kernel(0, 0, TURNS, one.ctypes.data + -one.ctypes.data % 64)

    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(REPEATS):
            start = time.perf_counter()
            list(pool.map(run, scratch))
            best = min(best, time.perf_counter() - start)
    return best


def _multiply_add(level: Level, arguments: Arguments) -> None:
    a, b = arguments.scratch.load(F32.x(LANES)), arguments.scratch.load(F32.x(LANES), 64)
    zero = constant(F32.x(LANES), 0.0)
    with loop(arguments.begin, arguments.end, 1, [zero] * CHAINS) as turns:
        turns.carry(*(level.fma(a, b, chain) for chain in turns.carried))
    arguments.scratch.store(_sum(turns.results))


def _dot(level: Level, arguments: Arguments) -> None:
    weights, words = arguments.scratch.load(I8.x(64)), arguments.scratch.load(I32.x(16), 64)
    zero = constant(I32.x(LANES), 0)
    with loop(arguments.begin, arguments.end, 1, [zero] * CHAINS) as turns:
        turns.carry(*(level.dot4(chain, weights, words, 15) for chain in turns.carried))
    arguments.scratch.store(_sum(turns.results))


def _sum(values: "list[Value] | tuple[Value, ...]") -> Value:
    """Use every value, so that none is optimised away."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
