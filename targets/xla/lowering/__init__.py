"""Lowering an `lm` module to StableHLO: one program for each size of a step and each stage."""

from .pools import pools_of
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
from .step import lower_step
from .table import can_lower, check_operations
from .weights import WeightPlan, weights_of

__all__ = [
    "STEP_INPUTS",
    "CacheShape",
    "KvPool",
    "Options",
    "Parameter",
    "StageProgram",
    "StepShape",
    "WeightPlan",
    "can_lower",
    "check_operations",
    "lower_step",
    "pools_of",
    "step_input_shapes",
    "weights_of",
]
