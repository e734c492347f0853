"""Kernels to one relocatable x86-64 object file per level.

The MLIR is built here; a child process (`codegen_worker.py`) lowers it and writes the object,
so that a crash of the bindings or of LLVM becomes an error that names the kernel.  The target
is spelled out in every function, so the bytes do not depend on the machine that compiles.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ingot.ir import ir

from . import codegen_worker
from .kernel import Kernel
from .levels import Level


class CodegenError(RuntimeError):
    """A kernel generator or LLVM failed: a bug, never a mistake of the user."""


def compile_kernels(kernels: Sequence[Kernel], level: Level, *, in_process: bool = False) -> bytes:
    """Compile kernels of distinct names to one relocatable object (ELF, x86-64).

    The order of `kernels` does not matter: functions are sorted by name.  Equal input gives equal
    bytes.  `in_process` saves the child process and its protection; tests use it.

    Raises CodegenError, naming the kernels that cannot be compiled.
    """
    names = sorted(kernel.name for kernel in kernels)
    assert len(set(names)) == len(names), "two kernels have one name"
    ordered = _with_needs(kernels)
    text = kernels_to_mlir(ordered, level)
    if in_process:
        return codegen_worker.object_of(text)
    finished = _run_worker(text)
    if finished.returncode == 0:
        return finished.stdout
    failures = _failing(ordered, level)
    message = finished.stderr.decode(errors="replace").strip()[-2000:]
    raise CodegenError(
        f"the worker ended with status {finished.returncode} on {level.name} kernels "
        f"{', '.join(failures or names)}\n{message}"
    )


def begin_levels(
    kernels: Sequence[Kernel], levels: Sequence[Level]
) -> dict[str, Callable[[], bytes]]:
    """Begin to compile kernels for several levels, two at a time.

    The result is, by level name, what waits for the object; it raises what `compile_kernels` does.

    The object of a level that has a base holds what differs from the base's, and what that calls.
    """

    def compile_level(level: Level) -> bytes:
        return compile_kernels(kernels_of(kernels, level), level)

    pool = ThreadPoolExecutor(max_workers=2)
    started = {level.name: pool.submit(compile_level, level) for level in levels}
    pool.shutdown(wait=False)
    return {name: future.result for name, future in started.items()}


def kernels_of(kernels: Sequence[Kernel], level: Level) -> list[Kernel]:
    """Return those that stand in the object of a level, but for what only they call."""
    return [
        one
        for one in kernels
        if (level.base is None or one.bf16) and (not one.levels or level.name in one.levels)
    ]


def kernels_to_mlir(kernels: Sequence[Kernel], level: Level) -> str:
    """Return the verified MLIR of `kernels` as text."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            for kernel in _with_needs(kernels):
                if not kernel.levels or level.name in kernel.levels:
                    kernel.emit(level)
        module.operation.verify()
        return str(module)


def kernels_to_assembly(kernels: Sequence[Kernel], level: Level) -> str:
    """Return the optimised assembly of `kernels`, for a reader."""
    return codegen_worker.assembly_of(kernels_to_mlir(kernels, level))


def _with_needs(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Return the kernels and all that they call, each once, by name."""
    found: dict[str, Kernel] = {}
    waiting = list(kernels)
    while waiting:
        kernel = waiting.pop()
        if kernel.name not in found:
            found[kernel.name] = kernel
            waiting.extend(kernel.needs)
    return [found[name] for name in sorted(found)]


def _run_worker(text: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-P", codegen_worker.__file__]
    return subprocess.run(command, input=text.encode(), capture_output=True)


def _failing(kernels: Sequence[Kernel], level: Level) -> list[str]:
    """Return the names of those that fail, of kernels that fail together; found by halving."""
    if len(kernels) == 1:
        return [kernels[0].name]
    middle = len(kernels) // 2
    halves = (kernels[:middle], kernels[middle:])
    failing = [half for half in halves if _run_worker(kernels_to_mlir(half, level)).returncode]
    return [name for half in failing for name in _failing(half, level)]
