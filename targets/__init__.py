"""Targets: what each kind of hardware can do, and how `lm` is lowered to it."""

from .base import (
    Build,
    Dtype,
    Kernel,
    KvDtype,
    ModelFacts,
    PackedWeight,
    PlanText,
    Program,
    Settings,
    Stage,
    Target,
    run_passes,
)
from .finding import find_target, target_names
from .hardware import Hardware

__all__ = [
    "Build",
    "Dtype",
    "Hardware",
    "Kernel",
    "KvDtype",
    "ModelFacts",
    "PackedWeight",
    "PlanText",
    "Program",
    "Settings",
    "Stage",
    "Target",
    "find_target",
    "run_passes",
    "target_names",
]
