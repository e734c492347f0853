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
from .meshes import check_mesh, mesh_of
from .settings import AUTO, STEP_SETTINGS

__all__ = [
    "AUTO",
    "STEP_SETTINGS",
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
    "check_mesh",
    "find_target",
    "mesh_of",
    "run_passes",
    "target_names",
]
