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
from .needs import Needs


def divide_vocabulary(block: Block, mesh: Mesh, choices: Choices, needs: Needs) -> None:
    """Choose for every table that the step's tokens are looked up in, and for the head."""
    part = Part(AXIS, mesh.size(AXIS))
    sizes = set()
    for op in ops_of(block):
        if isinstance(op, Embedding) and op.tokens == block.arguments[0]:
            rows = shape_of(op.table)[0]
            sizes.add(rows)
            _require_rows(op, rows, needs)
            choices.divide(op, "table", Sharding.along(2, 0, part))
    head = _head(block)
    if head is None or choices.of(head, "w") is not None:
        return
    rows = shape_of(head.w)[0]
    if rows in sizes:
        _require_rows(head, rows, needs)
    elif rows % part.parts:
        # The classes of a classifier: few, and every device can have them all.
        return
    choices.divide_linear(head, OUTPUTS, part)


def _require_rows(op: Embedding | Linear, rows: int, needs: Needs) -> None:
    needs.add(op, AXIS, f"a vocabulary of {rows}", lambda size: rows % size == 0)


def _head(block: Block) -> Linear | None:
    """Return the linear that makes what the step returns, None where something else does."""
    value = ops_of(block)[-1].operation.operands[0]
    while isinstance(value.owner, Scale | Softcap | SelectRows):
        value = value.owner.x
    return value.owner if isinstance(value.owner, Linear) else None
