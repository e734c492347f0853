"""`lm.linear`: x times the transposed weight, plus a bias."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require, require_activation, require_shape, require_vector
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import DYNAMIC, OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import with_weights
from ingot.ir.types import activation_type, encoding_of, shape_of


class Linear(Op, name="linear"):
    """`x @ w.T + bias`: x `[T, K]` (f32 or rounded), w `[N, K]` in any encoding, bias `[N]`."""

    x: Value
    w: Value
    out: OpResult
    bias: Value | None = None

    def __init__(
        self,
        x: Value,
        w: Value,
        bias: Value | None = None,
        **place: Unpack[Place],
    ) -> None:
        target = activation_type(shape_of(w)[0], w.context)
        self.build([x, w, bias], [target], **place)

    def check(self) -> None:
        require_activation("x", self.x, may_be_rounded=True)
        require_shape("w", self.w, [None, None])
        outputs, columns = shape_of(self.w)
        require(outputs != DYNAMIC and columns != DYNAMIC, f"needs a weight, found {self.w.type}")
        found = shape_of(self.x)[1]
        require(
            found == columns,
            f"needs x of K = {columns} features as w is {self.w.type}, found {self.x.type}",
        )
        weights = encoding_of(self.w)
        require(weights is None or not weights.activation, f"needs a weight, found {self.w.type}")
        if self.bias is not None:
            require_vector("bias", self.bias, outputs)
        require_activation("the result", self.out, outputs)

    def reference(self, *inputs: Datum) -> Tensor:
        return torch.nn.functional.linear(*with_weights(inputs))

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(2 * tokens * elements_of(self.w, tokens), traffic(self, tokens))
