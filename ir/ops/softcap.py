"""`lm.softcap`: values pressed smoothly into a range."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require_activation, require_positive, require_same_type
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of


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

    def reference(self, *inputs: Datum) -> Tensor:
        return torch.tanh(tensor_of(inputs[0]) / self.cap) * self.cap

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(8 * elements_of(self.x, tokens), traffic(self, tokens))
