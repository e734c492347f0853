"""`lm.scale`: every element times a constant."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require_float, require_same_type
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of


class Scale(Op, name="scale"):
    """`x * factor`; x is an activation or a float weight."""

    x: Value
    factor: float
    out: OpResult

    def __init__(self, x: Value, *, factor: float, **place: Unpack[Place]) -> None:
        self.build([x], [x.type], {"factor": factor}, **place)

    def check(self) -> None:
        require_float("x", self.x)
        require_same_type("the result", self.out, "x", self.x.type)

    def reference(self, *inputs: Datum) -> Tensor:
        return tensor_of(inputs[0]) * self.factor

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(elements_of(self.x, tokens), traffic(self, tokens))
