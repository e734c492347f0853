"""`lm.transpose`: a matrix of weights with rows and columns exchanged."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require, require_float, require_same_type, require_shape
from ingot.ir.costs import traffic
from ingot.ir.dialect import Quant
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import shape_of, tensor_type


class Transpose(Op, name="transpose"):
    """`w` `[N, K]` as `[K, N]`.

    An encoded matrix has its groups along K and cannot be transposed as it is: decode it first.
    """

    w: Value
    out: OpResult

    def __init__(self, w: Value, **place: Unpack[Place]) -> None:
        target = tensor_type(shape_of(w)[::-1], w.type.element_type)
        self.build([w], [target], **place)

    def check(self) -> None:
        require(
            not isinstance(self.w.type, Quant),
            f"cannot transpose {self.w.type}, whose groups lie along K; lm.convert it first",
        )
        require_float("w", self.w)
        require_shape("w", self.w, [None, None])
        target = tensor_type(shape_of(self.w)[::-1], self.w.type.element_type)
        require_same_type("the result", self.out, "the transposed w", target)

    def reference(self, *inputs: Datum) -> Tensor:
        return tensor_of(inputs[0]).t()

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, traffic(self, tokens))
