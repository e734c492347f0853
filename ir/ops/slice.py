"""`lm.slice`: a range of the features of every token."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require, require_activation, require_positive
from ingot.ir.costs import bytes_of
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import activation_type, columns_of


class Slice(Op, name="slice"):
    """`x[:, offset : offset + size]`."""

    x: Value
    offset: int
    size: int
    out: OpResult

    def __init__(self, x: Value, *, offset: int, size: int, **place: Unpack[Place]) -> None:
        target = activation_type(size, x.context)
        self.build([x], [target], {"offset": offset, "size": size}, **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require(self.offset >= 0, f"needs offset of 0 or more, found {self.offset}")
        require_positive("size", self.size)
        columns = columns_of(self.x)
        require(
            self.offset + self.size <= columns,
            f"needs columns below {columns}, found {self.offset} to {self.offset + self.size}",
        )
        require_activation("the result", self.out, self.size)

    def reference(self, *inputs: Datum) -> Tensor:
        return tensor_of(inputs[0])[:, self.offset : self.offset + self.size]

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, 2 * bytes_of(self.out, tokens))
