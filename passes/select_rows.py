"""Computes what follows the last attention only for the tokens whose logits are wanted."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import (
    Activation,
    Add,
    AddLayerNorm,
    AddRmsNorm,
    BatchType,
    Block,
    Glu,
    LayerNorm,
    Linear,
    Module,
    Mul,
    Op,
    OpView,
    Pool,
    RmsNorm,
    Scale,
    SelectRows,
    Slice,
    Softcap,
    Value,
    before,
    is_per_token,
)

from .core import EXACT, Contract, Pass, ops_of, step_block

ROW_WISE = (
    Activation
    | Add
    | AddLayerNorm
    | AddRmsNorm
    | Glu
    | LayerNorm
    | Linear
    | Mul
    | RmsNorm
    | Scale
    | Slice
    | Softcap
)
"""Ops each row of whose results depends on the same rows of the operands alone."""


@dataclass(frozen=True)
class SelectRowsPass(Pass):
    """Select the rows that want logits as early as no op needs the others."""

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        block = step_block(module)
        if any(isinstance(op, SelectRows | Pool) for op in block.operations):
            return
        selected: dict[Value, Value] = {}
        for op in [*_tail(block), ops_of(block)[-1]]:
            _select_operands(block, op, selected)


def _tail(block: Block) -> list[OpView]:
    """Return the row-wise ops that only the returned rows need, in order."""
    *body, end = ops_of(block)
    tail = {end.operation}
    found = []
    for op in reversed(body):
        users = {use.owner.operation for r in op.operation.results for use in r.uses}
        if _is_row_wise(op) and users and users <= tail:
            tail.add(op.operation)
            found.append(op)
    return found[::-1]


def _is_row_wise(op: OpView) -> bool:
    return isinstance(op, ROW_WISE) or (isinstance(op, Op) and op.row_wise)


def _select_operands(block: Block, op: OpView, selected: dict[Value, Value]) -> None:
    """Let `op` take the selected rows of what comes from before the tail.

    `selected` maps each such value to its rows, and holds the tail's own results as they are.
    """
    batch = next(one for one in block.arguments if isinstance(one.type, BatchType))
    for index, operand in enumerate(op.operation.operands):
        if is_per_token(operand):
            if operand not in selected:
                # The rows are those of the value that they are taken from, wherever they are read.
                maker = operand.owner
                location = maker.location if isinstance(maker, OpView) else op.location
                with before(op):
                    selected[operand] = SelectRows(operand, batch, loc=location).out
            op.operation.operands[index] = selected[operand]
    selected.update((result, result) for result in op.operation.results)
