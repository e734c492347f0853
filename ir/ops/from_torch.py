"""`lm.from_torch`: a value taken back from the torch dialect."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.bridge import builtin_type, require_bridge
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import is_per_token


class FromTorch(Op, name="from_torch"):
    """x as a builtin tensor: the leading 1 of `[1, ?, ...]` is dropped, si64 becomes i32."""

    x: Value
    out: OpResult

    def __init__(self, x: Value, **place: Unpack[Place]) -> None:
        self.build([x], [builtin_type(x.type)], **place)

    def check(self) -> None:
        require_bridge("the result", self.out.type, "x", self.x.type)

    def reference(self, *inputs: Datum) -> Tensor:
        x = tensor_of(inputs[0])
        x = x.int() if x.dtype == torch.int64 else x
        return x.squeeze(0) if is_per_token(self.out) else x

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost()
