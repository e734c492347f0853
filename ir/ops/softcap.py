"""`lm.softcap`: values pressed smoothly into a range."""

from typing import Unpack

from ingot.ir.checks import require_activation, require_positive, require_same_type
from ingot.ir.dialect import Op, Place
from ingot.ir.mlir import OpResult, Value


class Softcap(Op, name="softcap"):
    """`cap * tanh(x / cap)`."""

    x: Value
    cap: float
    out: OpResult

    def __init__(self, x: Value, *, cap: float, **place: Unpack[Place]) -> None:
        self.build([x], [x.type], {"cap": cap}, **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require_positive("cap", self.cap)
        require_same_type("the result", self.out, "x", self.x.type)
