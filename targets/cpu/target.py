"""The CPU target: x86-64 at four levels of its instruction set."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ingot.ir import BF16Type, Linear, Quant, logical_type
from ingot.passes import decompose_unknown
from ingot.targets.base import Build, PackedWeight, Settings, Stage, Target, run_passes
from ingot.targets.settings import STEP_SETTINGS

from .codegen import begin_levels, kernels_of
from .kernel import Kernel
from .levels import LEVELS, Level
from .lower import find_lowering, lower
from .lowering.weights import COLUMNS, PLAIN, VECTOR
from .packing import pack_columns, pack_vector, packing_named
from .plan import KvDtype

DEFAULT_LINEAR, DEFAULT_EMBEDDING = "int4-g32", "int8"


def pipeline(settings: Settings) -> str:
    """Return the passes for some settings, as text."""
    return settings.passes(f"lift,{settings.quantize(DEFAULT_LINEAR, DEFAULT_EMBEDDING)},fuse")


def _run_passes(build: Build) -> Build:
    return run_passes(build, pipeline(build.settings))


def _lower(build: Build) -> Build:
    if decompose_unknown(build.module, lambda op: find_lowering(op) is not None):
        build.watch("decompose", build.module)
    program = lower(build.module, build.facts, _kv_dtype(build))
    plan = program.plan.text()
    build.watch("plan", plan)
    files = {**build.files, "targets/cpu/plan.json": plan.encode()}
    return replace(build, program=program, files=files)


def _kv_dtype(build: Build) -> KvDtype:
    """Return the type of the KV cache; "auto" is float32 for models whose weights all are."""
    if build.settings.kv_dtype != "auto":
        return build.settings.kv_dtype
    linears = [op for op in build.module.step.entry_block.operations if isinstance(op, Linear)]
    small = any(
        isinstance(op.w.type, Quant) or isinstance(logical_type(op.w).element_type, BF16Type)
        for op in linears
    )
    return "bfloat16" if small else "float32"


def _generate(build: Build) -> Build:
    assert build.program is not None
    kernels = [kernel for kernel in build.program.kernels if isinstance(kernel, Kernel)]
    levels = _levels(build.settings.levels, kernels)
    objects = begin_levels(kernels, levels)
    later = {f"targets/cpu/kernels-{name}.o": wait for name, wait in objects.items()}
    return replace(
        build,
        settings=replace(build.settings, levels=tuple(objects)),
        later=later,
        notes={
            "kernels": {
                level.name: [kernel.name for kernel in kernels_of(kernels, level)]
                for level in levels
            }
        },
    )


def _levels(wanted: Sequence[str], kernels: Sequence[Kernel]) -> list[Level]:
    """Return the levels to compile for, with their bases; all, where no names are given.

    A level with a base is left out where no kernel differs from the base's.
    """
    chosen = [level for level in LEVELS if not wanted or level.name in wanted]
    needed = {level.base or level.name for level in chosen}
    if any(kernel.bf16 for kernel in kernels):
        needed |= {level.name for level in chosen}
    return [level for level in LEVELS if level.name in needed]


def _pack(weight: PackedWeight, value: Any) -> NDArray[np.uint8]:
    """Return the bytes of an evaluated weight expression in its packing."""
    if weight.packing == VECTOR:
        packed = pack_vector(value)
    elif weight.packing == COLUMNS:
        packed = pack_columns(value)
    elif weight.packing == PLAIN:
        packed = value.contiguous().reshape(-1).view(torch.uint8)
    else:
        packed = packing_named(weight.packing).pack(value)
    data: NDArray[np.uint8] = packed.numpy()
    return data


TARGET = Target(
    name="cpu",
    description="x86-64, from any of them to AVX-512 with VNNI",
    levels=tuple(level.name for level in LEVELS),
    pipeline=pipeline,
    stages=(
        Stage("passes", _run_passes),
        Stage("lower", _lower),
        Stage("kernels", _generate),
    ),
    pack=_pack,
    ignores=STEP_SETTINGS,
)
