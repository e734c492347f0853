"""`lm.from_torch`: a value taken back from the torch dialect."""

from typing import Unpack

from ingot.ir.bridge import builtin_type, require_bridge
from ingot.ir.dialect import Op, Place
from ingot.ir.mlir import OpResult, Value


class FromTorch(Op, name="from_torch"):
    """x as a builtin tensor: the leading 1 of `[1, ?, ...]` is dropped, si64 becomes i32."""

    x: Value
    out: OpResult

    def __init__(self, x: Value, **place: Unpack[Place]) -> None:
        self.build([x], [builtin_type(x.type)], **place)

    def check(self) -> None:
        require_bridge("the result", self.out.type, "x", self.x.type)
