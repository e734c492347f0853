"""`lm.neg_exp`: the rates of decay that a scan's parameters stand for."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require, require_float
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import float_tensor, is_per_token, shape_of


class NegExp(Op, name="neg_exp"):
    """`-exp(w)` of a float weight, in float32: models store the logarithm of a rate of decay."""

    w: Value
    out: OpResult

    def __init__(self, w: Value, **place: Unpack[Place]) -> None:
        self.build([w], [float_tensor(shape_of(w), w.context)], **place)

    def check(self) -> None:
        require_float("w", self.w)
        require(not is_per_token(self.w), f"needs w to be a weight, found {self.w.type}")
        expected = float_tensor(shape_of(self.w), self.w.context)
        require(self.out.type == expected, f"makes {expected}, found {self.out.type}")

    def reference(self, *inputs: Datum) -> Tensor:
        # Not rounded before its reader does: an oracle in float64 sees no difference.
        return -torch.exp(tensor_of(inputs[0], torch.float64))

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(elements_of(self.w, tokens), traffic(self, tokens))
