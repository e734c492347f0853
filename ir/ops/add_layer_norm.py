"""`lm.add_layer_norm`: a residual addition and the layer norm of the sum."""

from typing import Unpack

from ingot.ir.checks import require_activation, require_positive, require_vector
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import layer_norm, rounded_as, with_weights
from ingot.ir.types import activation_type, columns_of, shape_of


class AddLayerNorm(Op, name="add_layer_norm"):
    """`sum = x + residual`, `out = layer_norm(sum, w, b)`."""

    can_round = True

    x: Value
    residual: Value
    w: Value
    eps: float
    sum: OpResult
    out: OpResult
    b: Value | None = None

    def __init__(
        self,
        x: Value,
        residual: Value,
        w: Value,
        b: Value | None = None,
        *,
        eps: float,
        rounded: bool = False,
        **place: Unpack[Place],
    ) -> None:
        normed = activation_type(columns_of(x), x.context, rounded=rounded)
        self.build([x, residual, w, b], [x.type, normed], {"eps": eps}, **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require_positive("eps", self.eps)
        columns = shape_of(self.x)[1]
        require_activation("residual", self.residual, columns)
        require_vector("w", self.w, columns)
        if self.b is not None:
            require_vector("b", self.b, columns)
        require_activation("sum", self.sum, columns)
        require_activation("out", self.out, columns, may_be_rounded=True)

    def reference(self, *inputs: Datum) -> tuple[Datum, Datum]:
        x, residual, *parameters = with_weights(inputs)
        total = x + residual
        return total, rounded_as(layer_norm(total, parameters, self.eps), self.out)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(8 * elements_of(self.x, tokens), traffic(self, tokens))
