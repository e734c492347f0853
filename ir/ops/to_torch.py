"""`lm.to_torch`: a value handed to the torch dialect."""

from typing import Unpack

from ingot.ir.bridge import require_bridge, torch_type
from ingot.ir.dialect import Op, Place
from ingot.ir.mlir import OpResult, Value


class ToTorch(Op, name="to_torch"):
    """x as `!torch.vtensor`: a value per token gets a leading dimension of 1, i32 becomes si64."""

    x: Value
    out: OpResult

    def __init__(self, x: Value, **place: Unpack[Place]) -> None:
        self.build([x], [torch_type(x.type)], **place)

    def check(self) -> None:
        require_bridge("x", self.x.type, "the result", self.out.type)
