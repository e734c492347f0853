"""The mesh that a target runs on: what the user asks for, or the target's own."""

from ingot.errors import UsageError
from ingot.ir import Mesh

from .base import Settings, Target
from .settings import AUTO


def mesh_of(settings: Settings, default: str = "") -> Mesh | None:
    """Return the mesh, None for a single device; raise `UsageError` for a text that is no mesh.

    `default` is the text of the mesh where the settings name none.
    """
    assert settings.mesh != AUTO, "the planner chooses a mesh before anything asks for it"
    text = settings.mesh or default
    mesh = Mesh.parse(text) if text else None
    return mesh if mesh is not None and mesh.devices > 1 else None


def check_mesh(target: Target, settings: Settings) -> None:
    """Raise `UsageError` for a mesh that the target does not have the devices for."""
    if settings.mesh == AUTO:
        return
    mesh = mesh_of(settings, target.mesh)
    devices = 1 if mesh is None else mesh.devices
    if target.devices == 0 or devices == target.devices:
        return
    if target.devices == 1:
        raise UsageError(
            f"target {target.label} runs on one device, and the mesh {mesh} has {devices}",
            where="--mesh",
            hint="Leave --mesh away, or compile for several devices: --target xla:cpu.",
        )
    raise UsageError(
        f"target {target.label} has {target.devices} devices, and "
        + (f"the mesh {mesh} has {devices}" if mesh is not None else "a mesh of one does not fit"),
        where="--mesh",
        hint=f"Give a mesh of {target.devices} devices, as in tp{target.devices}, or auto.",
    )
