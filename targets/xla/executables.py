"""Compiles the programs of a plan for devices that need not be there, one after the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from ingot.ir import Mesh

from .analysis import analyse
from .compiling import Compiled, ProgramCompiler
from .plan import Plan, PlannedStage, Step


@dataclass(frozen=True)
class CompiledPlan:
    """A plan that names its executables, their files, and what the compiler says of each.

    `facts` are by the name of the program, such as `decode-8.0`, and the same on every machine.
    """

    plan: Plan
    files: Mapping[str, bytes]
    facts: Mapping[str, Mapping[str, Any]]


def compile_steps(
    plan: Plan, files: Mapping[str, bytes], watch: Callable[[str, object], None]
) -> CompiledPlan:
    """Compile every program of a plan; `files` has the programs, `watch` is told of each.

    Raises `OutOfMemory`, with the compiler's numbers, for a program that does not fit its device.
    """
    made: dict[str, bytes] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    steps = []
    with ProgramCompiler() as compiler:
        for step in plan.steps:
            stages = []
            for index, stage in enumerate(step.stages):
                name = PurePosixPath(stage.program).name.removesuffix(".mlir.bc")
                assigned = stage_devices(plan.mesh, index)
                compiled = compiler.compile(
                    files[stage.program], plan.platform, len(assigned), assigned
                )
                watch(f"{name}.hlo", compiled.hlo)
                path = str(PurePosixPath(stage.program).with_name(f"{name}.bin"))
                made[path] = compiled.executable
                facts[name] = _facts(compiled, plan, index)
                stages.append(PlannedStage(stage.program, path))
            steps.append(Step(step.shape, tuple(stages)))
    return CompiledPlan(replace(plan, steps=tuple(steps)), made, facts)


def stage_devices(mesh: str, stage: int) -> tuple[int, ...]:
    """Return the devices of a pipeline stage, in their order."""
    if not mesh:
        return (0,)
    parsed = Mesh.parse(mesh)
    places = range(parsed.devices)
    return tuple(one for one in places if parsed.coordinates(one).get("pp", 0) == stage)


def _facts(compiled: Compiled, plan: Plan, stage: int) -> dict[str, Any]:
    """Return what is known of an executable; `analysis` is read off the optimised program."""
    weights = [one.name for one in plan.parameters if one.stage == stage]
    mesh = Mesh.parse(plan.mesh) if plan.mesh else None
    analysis = analyse(compiled.hlo, devices=compiled.devices, weights=weights, mesh=mesh)
    return {
        "devices": compiled.devices,
        "memory": compiled.memory.to_json(),
        "flops": compiled.flops,
        **analysis.to_json(),
    }
