"""`lm.add_rms_norm`: a residual addition and the RMS norm of the sum."""

from typing import Unpack

from ingot.ir.checks import require_activation, require_positive, require_vector
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import rms_norm, rounded_as, with_weights
from ingot.ir.types import activation_type, columns_of, shape_of


class AddRmsNorm(Op, name="add_rms_norm"):
    """`sum = x + residual`, `out = rms_norm(sum, w)` over all features."""

    can_round = True

    x: Value
    residual: Value
    w: Value
    eps: float
    sum: OpResult
    out: OpResult

    def __init__(
        self,
        x: Value,
        residual: Value,
        w: Value,
        *,
        eps: float,
        rounded: bool = False,
        **place: Unpack[Place],
    ) -> None:
        normed = activation_type(columns_of(x), x.context, rounded=rounded)
        self.build([x, residual, w], [x.type, normed], {"eps": eps}, **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require_positive("eps", self.eps)
        columns = shape_of(self.x)[1]
        require_activation("residual", self.residual, columns)
        require_vector("w", self.w, columns)
        require_activation("sum", self.sum, columns)
        require_activation("out", self.out, columns, may_be_rounded=True)

    def reference(self, *inputs: Datum) -> tuple[Datum, Datum]:
        x, residual, w = with_weights(inputs)
        total = x + residual
        return total, rounded_as(rms_norm(total, w, self.eps), self.out)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(5 * elements_of(self.x, tokens), traffic(self, tokens))
