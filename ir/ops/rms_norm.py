"""`lm.rms_norm`: root-mean-square normalisation (Zhang and Sennrich, 2019)."""

from typing import Unpack

from ingot.ir.checks import require, require_activation, require_positive, require_vector
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import rms_norm, rounded_as, split_heads, with_weights
from ingot.ir.types import activation_type, columns_of, shape_of


class RmsNorm(Op, name="rms_norm"):
    """`x / sqrt(mean(x^2) + eps) * w`, over all features or over each of `heads` heads alone.

    w has as many elements as what is normalised: `[features / heads]`.
    """

    can_round = True

    x: Value
    w: Value
    eps: float
    heads: int
    out: OpResult

    def __init__(
        self,
        x: Value,
        w: Value,
        *,
        eps: float,
        heads: int = 1,
        rounded: bool = False,
        **place: Unpack[Place],
    ) -> None:
        target = activation_type(columns_of(x), x.context, rounded=rounded)
        self.build([x, w], [target], {"eps": eps, "heads": heads}, **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require_positive("eps", self.eps)
        require_positive("heads", self.heads)
        columns = shape_of(self.x)[1]
        require(
            columns % self.heads == 0,
            f"needs features that {self.heads} heads divide, found {columns}",
        )
        require_vector("w", self.w, columns // self.heads)
        require_activation("the result", self.out, columns, may_be_rounded=True)

    def reference(self, *inputs: Datum) -> Datum:
        x, w = with_weights(inputs)
        heads = split_heads(x, self.heads)
        return rounded_as(rms_norm(heads, w, self.eps).flatten(-2), self.out)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(4 * elements_of(self.x, tokens), traffic(self, tokens))
