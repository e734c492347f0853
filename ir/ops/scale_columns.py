"""`lm.scale_columns`: the columns of a weight times a factor each."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require_float, require_shape, require_vector
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import columns_of, float_tensor, shape_of, torch_dtype


class ScaleColumns(Op, name="scale_columns"):
    """`w` `[N, K]` times `factors` `[K]` in float32: the scale of a norm, moved into its reader."""

    w: Value
    factors: Value
    out: OpResult

    def __init__(self, w: Value, factors: Value, **place: Unpack[Place]) -> None:
        self.build([w, factors], [float_tensor(shape_of(w), w.context)], **place)

    def check(self) -> None:
        require_float("w", self.w)
        require_shape("w", self.w, [None, None])
        require_vector("factors", self.factors, columns_of(self.w))
        require_float("the result", self.out)
        require_shape("the result", self.out, shape_of(self.w))

    def reference(self, *inputs: Datum) -> Tensor:
        w, factors = (tensor_of(one) for one in inputs)
        wide = w if w.element_size() >= 4 else w.to(torch_dtype(self.out))
        return wide * factors.to(wide.dtype)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(elements_of(self.w, tokens), traffic(self, tokens))
