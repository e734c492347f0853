"""`lm.l2_normalize`: rows of length one."""

from typing import Unpack

from torch import Tensor
from torch.nn.functional import normalize

from ingot.ir.checks import require_activation, require_positive, require_same_type
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of


class L2Normalize(Op, name="l2_normalize"):
    """`x / max(sqrt(sum(x^2)), eps)` over all features, so that products of rows are cosines."""

    x: Value
    eps: float
    out: OpResult

    def __init__(self, x: Value, *, eps: float, **place: Unpack[Place]) -> None:
        self.build([x], [x.type], {"eps": eps}, **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require_positive("eps", self.eps)
        require_same_type("the result", self.out, "x", self.x.type)

    def reference(self, *inputs: Datum) -> Tensor:
        return normalize(tensor_of(inputs[0]), dim=-1, eps=self.eps)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(3 * elements_of(self.x, tokens), traffic(self, tokens))
