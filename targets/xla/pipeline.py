"""The passes of the targets that lower to StableHLO, for some settings."""

from ingot.targets.base import Settings
from ingot.targets.meshes import mesh_of

SHARDING = "assign-sharding{{mesh={mesh} sequence={sequence}}},propagate-sharding,partition"
NARROWING = "narrow-exchanges"
FUSING = "merge-linears,fuse-norms"
ROUNDING = "round-activations{encoding=int8-row},fuse-rounding"


def pipeline_of(settings: Settings, *, floats: str = "", mesh: str = "") -> str:
    """Return the passes as text.

    Weights that the checkpoint stores as floats stay floats unless an encoding is asked for;
    `floats` is their type where the user names none, `mesh` the mesh where the user names none.
    Linears are merged after they are divided, so that each device's part of the merged weight
    holds whole parts of all of them.  Activations are rounded only where that is asked for: XLA
    multiplies floats with integer weights as fast as it reads them.  Where factors are bfloat16, so
    is what devices send each other.
    """
    passes = ["lift", settings.quantize("none", "none", floats)]
    found = mesh_of(settings, mesh)
    if found is not None:
        sequence = str(settings.sequence_parallel).lower()
        passes.append(SHARDING.format(mesh=found, sequence=sequence))
        if (floats if settings.dtype == "auto" else settings.dtype) == "bfloat16":
            passes.append(NARROWING)
    passes += [FUSING, *([ROUNDING] if settings.activations == "int8" else []), "canonicalize"]
    return settings.passes(",".join(passes))
