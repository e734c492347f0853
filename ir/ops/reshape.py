"""`lm.reshape`: a weight with the same elements in other dimensions."""

from collections.abc import Sequence
from math import prod
from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require, require_float
from ingot.ir.costs import traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import is_per_token, shape_of, tensor_type


class Reshape(Op, name="reshape"):
    """A float weight, row-major, in the dimensions of the result type."""

    w: Value
    out: OpResult

    def __init__(self, w: Value, shape: Sequence[int], **place: Unpack[Place]) -> None:
        self.build([w], [tensor_type(shape, w.type.element_type)], **place)

    def check(self) -> None:
        require_float("w", self.w)
        require_float("the result", self.out)
        require(not is_per_token(self.w), f"reshapes weights, found {self.w.type}")
        same = self.w.type.element_type == self.out.type.element_type
        sizes = shape_of(self.out)
        fits = same and min(sizes, default=1) >= 0 and prod(shape_of(self.w)) == prod(sizes)
        require(fits, f"needs as many elements of one type, {self.w.type} is not {self.out.type}")

    def reference(self, *inputs: Datum) -> Tensor:
        return tensor_of(inputs[0]).reshape(shape_of(self.out))

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, traffic(self, tokens))
