"""`lm.shift`: indices of rows, counted from elsewhere."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require_indices
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of


class Shift(Op, name="shift"):
    """`indices + offset`: positions in a table that begins before the row of the first one."""

    indices: Value
    offset: int
    out: OpResult

    def __init__(self, indices: Value, *, offset: int, **place: Unpack[Place]) -> None:
        self.build([indices], [indices.type], {"offset": offset}, **place)

    def check(self) -> None:
        require_indices("indices", self.indices)
        require_indices("the result", self.out)

    def reference(self, *inputs: Datum) -> Tensor:
        return tensor_of(inputs[0]) + self.offset

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(elements_of(self.indices, tokens), traffic(self, tokens))
