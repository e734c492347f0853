"""`lm.select_rows`: only the tokens whose logits are wanted."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require_activation, require_batch, require_same_type
from ingot.ir.costs import traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of, tensor_of
from ingot.ir.types import is_choice


class SelectRows(Op, name="select_rows"):
    """The rows of x that the batch wants, in order; the result has as many rows as those.

    x may also be the choices of a router, `tensor<?xkxi32>`.
    """

    x: Value
    batch: Value
    out: OpResult

    def __init__(self, x: Value, batch: Value, **place: Unpack[Place]) -> None:
        self.build([x, batch], [x.type], **place)

    def check(self) -> None:
        if not is_choice(self.x):
            require_activation("x", self.x)
        require_batch("batch", self.batch)
        require_same_type("the result", self.out, "x", self.x.type)

    def reference(self, *inputs: Datum) -> Tensor:
        rows = batch_of(inputs[1]).rows
        x = tensor_of(inputs[0])
        return x if rows is None else x[rows]

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Take all rows as wanted: an upper bound."""
        return Cost(0, traffic(self, tokens))
