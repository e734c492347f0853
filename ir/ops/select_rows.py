"""`lm.select_rows`: only the tokens whose logits are wanted."""

from typing import Unpack

from ingot.ir.checks import require_activation, require_batch
from ingot.ir.dialect import Op, Place
from ingot.ir.mlir import OpResult, Value
from ingot.ir.types import activation_type, columns_of


class SelectRows(Op, name="select_rows"):
    """The rows of x that the batch wants, in order; the result has as many rows as those."""

    x: Value
    batch: Value
    out: OpResult

    def __init__(self, x: Value, batch: Value, **place: Unpack[Place]) -> None:
        self.build([x, batch], [activation_type(columns_of(x), x.context)], **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require_batch("batch", self.batch)
        require_activation("the result", self.out, columns_of(self.x))
