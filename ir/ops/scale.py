"""`lm.scale`: every element times a constant."""

from typing import Unpack

from ingot.ir.checks import require_float, require_same_type
from ingot.ir.dialect import Op, Place
from ingot.ir.mlir import OpResult, Value


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
