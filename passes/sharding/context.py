"""What is known at each operation while shardings spread: the mesh, and whether rows divide."""

from collections.abc import Iterator

from ingot.ir import Block, BoolAttr, Module, OpView, Part, Pool, SelectRows, Value
from ingot.passes.core import ops_of, step_block

from .rule import Context

SEQUENCE = "lm.sequence_parallel"
"""The attribute of the step, between the passes, that says that rows are divided along tp."""


def set_sequence_parallel(module: Module, wanted: bool) -> None:
    """Write or remove the mark of sequence parallelism."""
    attributes = module.step.attributes
    if wanted:
        attributes[SEQUENCE] = BoolAttr.get(True, module.context)
    elif SEQUENCE in attributes:
        del attributes[SEQUENCE]


def contexts(module: Module) -> Iterator[tuple[OpView, Context]]:
    """Yield the operations of the step in order, each with its context.

    Rows are those of all tokens only until some are selected, or sequences pooled: from there on
    they stay whole.
    """
    mesh = module.mesh
    assert mesh is not None, "the module has no mesh"
    divided = SEQUENCE in module.step.attributes and mesh.size("tp") > 1
    whole = Context(mesh)
    rows = Context(mesh, (Part("tp", mesh.size("tp")),)) if divided else whole
    block: Block = step_block(module)
    selected: set[Value] = set()
    for op in ops_of(block):
        if isinstance(op, SelectRows | Pool) or any(x in selected for x in op.operation.operands):
            selected.update(op.operation.results)
            yield op, whole
        else:
            yield op, rows
