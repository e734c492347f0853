"""`lm.mul`: the product of two values, element by element."""

from typing import Unpack

from ingot.ir.checks import require_elementwise, require_same_type
from ingot.ir.dialect import Op, Place
from ingot.ir.mlir import OpResult, Value


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
