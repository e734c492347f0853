"""Lowering an `lm` module to StableHLO: one program for each size of a step and each stage."""

from .program import (
    STEP_INPUTS,
    CacheShape,
    KvPool,
    Options,
    Parameter,
    StageProgram,
    StepShape,
    step_input_shapes,
)

__all__ = [
    "STEP_INPUTS",
    "CacheShape",
    "KvPool",
    "Options",
    "Parameter",
    "StageProgram",
    "StepShape",
    "step_input_shapes",
]
