"""The mesh that `auto` stands for: that of the configuration which the planner ranks first."""

from dataclasses import replace

from ingot.ir import Module
from ingot.models import Checkpoint
from ingot.targets import AUTO, ModelFacts, Settings, Target

from .planning import Request, make_plan, winner
from .planning.question import Progress


def with_chosen_mesh(
    checkpoint: Checkpoint,
    module: Module,
    facts: ModelFacts,
    target: Target,
    settings: Settings,
    progress: Progress,
) -> Settings:
    """Return the settings with a mesh in the place of `auto`; others as they are.

    The plan is for the encoding, the KV cache and the context of this compile, and for as many
    sequences as its largest decoding step has, if that is said.  Raises what `make_plan` raises,
    and `UnsupportedError` where no configuration fits.
    """
    if settings.mesh != AUTO:
        return settings
    batch = {"batch": max(settings.decode_batches)} if settings.decode_batches else {}
    request = Request(
        context=settings.context,
        encodings=(settings.linear,),
        kv_dtypes=() if settings.kv_dtype == "auto" else (settings.kv_dtype,),
        **batch,
    )
    base = replace(settings, mesh="")
    # The compile itself asks the target's compiler whether all fits.
    plan = make_plan(checkpoint, module, facts, target, base, request, progress, compiles=False)
    mesh = winner(plan).mesh
    return replace(settings, mesh=str(mesh) if mesh.devices > 1 else "")
