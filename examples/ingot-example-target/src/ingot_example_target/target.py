"""The target: its passes, and the stage that writes the program."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ingot.ir import QuantTensor
from ingot.targets import Build, PackedWeight, Settings, Stage, Target, run_passes

from .emitter import FLOATS, emit
from .program_file import PROGRAM


def _pipeline(settings: Settings) -> str:
    return settings.passes(f"lift,{settings.quantize('none', 'none')},canonicalize")


def _run_passes(build: Build) -> Build:
    return run_passes(build, _pipeline(build.settings))


def _emit(build: Build) -> Build:
    program = emit(build.module, build.facts)
    text = program.plan.text()
    build.watch("program", text)
    return replace(build, program=program, files={**build.files, PROGRAM: text.encode()})


def _pack(weight: PackedWeight, value: Any) -> NDArray[np.uint8]:
    """Return a weight as it is multiplied: float32, row by row, decoded if it is encoded."""
    assert weight.packing == FLOATS
    floats = value.dequantize() if isinstance(value, QuantTensor) else value.to(torch.float32)
    data: NDArray[np.uint8] = floats.contiguous().view(torch.uint8).reshape(-1).numpy()
    return data


TARGET = Target(
    name="example-numpy",
    description="a readable numpy program",
    levels=(),
    pipeline=_pipeline,
    stages=(Stage("passes", _run_passes), Stage("emit", _emit)),
    pack=_pack,
)
