"""`lm.fill`: a vector of one repeated number, where a model has no weight for what an op takes."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require, require_positive, require_vector
from ingot.ir.costs import bytes_of
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import Context, OpResult
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.types import float_tensor, shape_of


class Fill(Op, name="fill"):
    """`size` times `value`: a weight expression without weights."""

    value: float
    size: int
    out: OpResult

    def __init__(
        self, context: Context, *, value: float, size: int, **place: Unpack[Place]
    ) -> None:
        attributes = {"value": value, "size": size}
        self.build([], [float_tensor([size], context)], attributes, **place)

    def check(self) -> None:
        require_positive("size", self.size)
        require(len(shape_of(self.out)) == 1, f"makes a vector, found {self.out.type}")
        require_vector("the result", self.out, self.size)

    def reference(self, *inputs: Datum) -> Tensor:
        return torch.full((self.size,), self.value, dtype=torch.float32)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, bytes_of(self.out, tokens))
