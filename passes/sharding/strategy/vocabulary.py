"""Divides the vocabulary: the rows of the tables that tokens name, and those of the head."""

from ingot.ir import (
    Block,
    Embedding,
    Linear,
    Mesh,
    Part,
    Scale,
    SelectRows,
    Sharding,
    Softcap,
    shape_of,
)
from ingot.passes.core import ops_of

from .attention import AXIS
from .choices import OUTPUTS, Choices


def divide_vocabulary(block: Block, mesh: Mesh, choices: Choices) -> None:
    """Choose for every table that the step's tokens are looked up in, and for the head.

    A vocabulary that does not divide (GPT-2's 50257) is whole on every device, as are the classes
    of a classifier: that costs memory, where refusing the mesh would cost the model.
    """
    part = Part(AXIS, mesh.size(AXIS))
    for op in ops_of(block):
        if isinstance(op, Embedding) and op.tokens == block.arguments[0]:
            if shape_of(op.table)[0] % part.parts == 0:
                choices.divide(op, "table", Sharding.along(2, 0, part))
    head = _head(block)
    if head is None or choices.of(head, "w") is not None:
        return
    if shape_of(head.w)[0] % part.parts == 0:
        choices.divide_linear(head, OUTPUTS, part)


def _head(block: Block) -> Linear | None:
    """Return the linear that makes what the step returns, None where something else does."""
    value = ops_of(block)[-1].operation.operands[0]
    while isinstance(value.owner, Scale | Softcap | SelectRows):
        value = value.owner.x
    return value.owner if isinstance(value.owner, Linear) else None
