"""Compiles StableHLO for the devices of a platform, none of which need be there."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from ingot.executables import (
    COMPILER_OPTIONS,
    ExecutableCache,
    default_cache,
    executable_key,
    platform_build,
)
from ingot.targets.xla.platform import Platform

from .cuda import GPUS
from .failures import CompileError, OutOfMemory, refusal
from .requirements import require
from .results import Compiled, Memory, TopologyFacts
from .worker_process import COMMAND, Reply, WorkerProcess


def compile_program(
    program: bytes | str, platform: Platform, devices: int, assigned: Sequence[int] = ()
) -> Compiled:
    """Compile one program; see `ProgramCompiler.compile`, which several programs share."""
    with ProgramCompiler() as compiler:
        return compiler.compile(program, platform, devices, assigned)


class ProgramCompiler:
    """Compiles programs one after the other in one worker, which it starts for the first.

    What the cache holds is taken from it.  A context manager: leaving it ends the worker.
    """

    def __init__(
        self, cache: ExecutableCache | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        self._cache = cache or default_cache()
        self._command = command
        self._worker: WorkerProcess | None = None

    def compile(
        self, program: bytes | str, platform: Platform, devices: int, assigned: Sequence[int] = ()
    ) -> Compiled:
        """Compile StableHLO (portable bytes, or text) for `devices` replicas.

        `assigned` are the places in the topology of the devices that run it, in the order of
        their replica numbers; by default the first ones.

        Raises `OutOfMemory`, with the compiler's numbers, for a program that does not fit,
        `CompileError` where XLA refuses it or dies, and `UnsupportedError` with what to install.
        """
        assigned = tuple(assigned) or tuple(range(devices))
        assert len(assigned) == devices, f"{len(assigned)} places for {devices} devices"
        data = program.encode() if isinstance(program, str) else program
        build = platform_build(platform.name)
        key = program_key(data, platform, assigned)
        entry = self._cache.get(key)
        found = Compiled.from_entry(entry) if entry else None
        if found is not None:
            return found
        reply = self._ask(platform, assigned, data)
        compiled = Compiled(
            reply.executable,
            Memory(**reply.facts["memory"]),
            reply.hlo,
            reply.facts["flops"],
            reply.facts["seconds"],
            build,
            devices,
        )
        _check_memory(compiled, platform)
        self._cache.put(key, compiled.entry())
        return compiled

    def describe(self, platform: Platform) -> TopologyFacts:
        """Return what the compiler knows of a topology; raise `CompileError` if it has no such."""
        return TopologyFacts.from_reply(self._ask(platform, (0,), b"").facts)

    def close(self) -> None:
        """End the worker, if one runs."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, platform: Platform, assigned: Sequence[int], program: bytes) -> Reply:
        plugin = require(platform.name)
        request = {
            "platform": platform.name,
            **_plugin_arguments(platform, 1 + max(assigned)),
            "plugin": str(plugin or ""),
            "assigned": list(assigned),
            "told": dict(COMPILER_OPTIONS.get(platform.name, {})),
        }
        if self._worker is None:
            self._worker = WorkerProcess(self._command)
        try:
            reply = self._worker.ask(request, program, _where(platform))
        except CompileError:
            self._worker = None
            raise
        if "error" in reply.facts:
            raise refusal(reply.facts["error"], _where(platform))
        return reply


def program_key(program: bytes, platform: Platform, assigned: Sequence[int]) -> str:
    """Return the key of a program's executable, which the runtime finds it by as well."""
    first = tuple(range(len(assigned)))
    options = {} if tuple(assigned) == first else {"assigned": list(assigned)}
    build = platform_build(platform.name)
    return executable_key(program, build, platform.topology, len(assigned), options)


def _plugin_arguments(platform: Platform, devices: int) -> dict[str, Any]:
    """Return the name and the options of a topology as the platform's plugin takes them."""
    if platform.name != "cuda":
        return {"topology": platform.topology, "options": dict(platform.options)}
    config = GPUS[platform.topology].target_config()
    shape = f"1x1x{platform.devices or devices}"
    return {"topology": "", "options": {"target_config": config, "topology": shape}}


def _check_memory(compiled: Compiled, platform: Platform) -> None:
    """Raise `OutOfMemory` for a GPU's program, whose compiler does not look; libtpu does."""
    if platform.name != "cuda":
        return
    needs, has = compiled.memory.total, GPUS[platform.topology].memory
    if needs > has:
        raise OutOfMemory(needs, has, _where(platform))


def _where(platform: Platform) -> str:
    return f"{platform.name} {platform.topology}".strip()
