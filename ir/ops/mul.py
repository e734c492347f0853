"""`lm.mul`: the product of two values, element by element."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require_elementwise, require_same_type
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import with_weights


class Mul(Op, name="mul"):
    """`x * y`; y is of x's type, or a `[features]` weight that serves every token."""

    x: Value
    y: Value
    out: OpResult

    def __init__(self, x: Value, y: Value, **place: Unpack[Place]) -> None:
        self.build([x, y], [x.type], **place)

    def check(self) -> None:
        require_elementwise(self.x, self.y)
        require_same_type("the result", self.out, "x", self.x.type)

    def reference(self, *inputs: Datum) -> Tensor:
        x, y = with_weights(inputs)
        return x * y

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(elements_of(self.x, tokens), traffic(self, tokens))
