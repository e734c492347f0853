"""`lm.to_torch`: a value handed to the torch dialect."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.bridge import require_bridge, torch_type
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import is_per_token


class ToTorch(Op, name="to_torch"):
    """x as `!torch.vtensor`: a value per token gets a leading dimension of 1, i32 becomes si64."""

    x: Value
    out: OpResult

    def __init__(self, x: Value, **place: Unpack[Place]) -> None:
        self.build([x], [torch_type(x.type)], **place)

    def check(self) -> None:
        require_bridge("x", self.x.type, "the result", self.out.type)

    def reference(self, *inputs: Datum) -> Tensor:
        x = tensor_of(inputs[0])
        x = x.long() if x.dtype == torch.int32 else x
        return x.unsqueeze(0) if is_per_token(self.x) else x

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost()
