"""`lm.layer_norm`: normalisation to mean 0 and variance 1 (Ba et al., 2016)."""

from typing import Unpack

from ingot.ir.checks import require, require_activation, require_positive, require_vector
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import layer_norm, rounded_as, split_heads, with_weights
from ingot.ir.types import activation_type, columns_of, shape_of


class LayerNorm(Op, name="layer_norm"):
    """`(x - mean) / sqrt(variance + eps) * w + b`, over all features or over each of `heads` heads.

    w and b have as many elements as what is normalised: `[features / heads]`.
    """

    can_round = True

    x: Value
    w: Value
    eps: float
    heads: int
    out: OpResult
    b: Value | None = None

    def __init__(
        self,
        x: Value,
        w: Value,
        b: Value | None = None,
        *,
        eps: float,
        heads: int = 1,
        rounded: bool = False,
        **place: Unpack[Place],
    ) -> None:
        target = activation_type(columns_of(x), x.context, rounded=rounded)
        self.build([x, w, b], [target], {"eps": eps, "heads": heads}, **place)

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
        if self.b is not None:
            require_vector("b", self.b, columns // self.heads)
        require_activation("the result", self.out, columns, may_be_rounded=True)

    def reference(self, *inputs: Datum) -> Datum:
        x, *parameters = with_weights(inputs)
        heads = split_heads(x, self.heads)
        return rounded_as(layer_norm(heads, parameters, self.eps).flatten(-2), self.out)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(7 * elements_of(self.x, tokens), traffic(self, tokens))
