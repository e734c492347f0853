"""Chooses what is divided along which axis of a mesh, by the role that each operation plays.

| axis | divides | file |
|---|---|---|
| tp | attention heads, hidden features, vocabulary | attention, feed_forward, experts, vocabulary |
| ep | experts | experts |
| pp | layers | pipeline |
| dp, cp | sequences, cached tokens | none: nothing of a weight is divided |
"""

from ingot.errors import UsageError
from ingot.ir import Attention, Experts, Mesh, Module
from ingot.passes.core import find_ops, step_block
from ingot.passes.sharding.context import set_sequence_parallel

from .attention import divide_attention
from .choices import Choices
from .experts import divide_experts
from .feed_forward import divide_feed_forward
from .needs import Needs
from .pipeline import choose_stages
from .splitting import part_biases, split_linears
from .vocabulary import divide_vocabulary


def choose_shardings(module: Module, mesh: Mesh, sequence: bool) -> None:
    """Write the mesh, and the sharding of every weight that is divided; the module still computes
    the same on every device.

    `sequence`: rows are divided along tp where nothing needs all of them.  Raises UsageError for a
    mesh that does not divide the module.
    """
    _check_axes(module, mesh)
    if sequence and mesh.size("tp") == 1:
        raise UsageError(
            f"the mesh {mesh} has no axis tp for rows to be divided along",
            where="pass assign-sharding, option sequence",
            hint="Add tp to the mesh, or drop the option.",
        )
    block = step_block(module)
    if mesh.size("tp") > 1:
        split_linears(block)
    choices, needs = Choices(), Needs(mesh)
    if mesh.size("tp") > 1:
        divide_attention(block, mesh, choices, needs)
        divide_feed_forward(block, mesh, choices, needs)
        divide_vocabulary(block, mesh, choices)
    divide_experts(block, mesh, choices, needs)
    needs.check()
    choices.write(mesh)
    part_biases(block, choices)
    choose_stages(block, mesh)
    module.set_mesh(mesh)
    set_sequence_parallel(module, sequence)


def _check_axes(module: Module, mesh: Mesh) -> None:
    """Raise UsageError for a module that is divided, or an axis along which it cannot be."""
    if module.mesh is not None:
        raise UsageError(
            f"the module is divided already, over the mesh {module.mesh}",
            where=f"mesh {mesh}",
            hint="Give the module as it was before.",
        )
    divided = {"ep": (Experts, "experts"), "cp": (Attention, "attention over a KV cache")}
    for axis, (kind, name) in divided.items():
        if mesh.size(axis) > 1 and not find_ops(module, kind):
            raise UsageError(
                f"the model has no {name} to divide along {axis}",
                where=f"mesh {mesh}",
                hint=f"Leave {axis} out of the mesh.",
            )
