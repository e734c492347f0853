"""`lm.convert`: a weight in another element type."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require, require_float, require_shape, require_tensor
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import F32Type, OpResult, Type, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import shape_of, tensor_type, torch_dtype


class Convert(Op, name="convert"):
    """`w` with elements of type `element` (f32, bf16, f16); an encoded weight is decoded."""

    w: Value
    out: OpResult

    def __init__(
        self,
        w: Value,
        element: Type | str | None = None,
        **place: Unpack[Place],
    ) -> None:
        if isinstance(element, str):
            element = Type.parse(element, w.context)
        target = tensor_type(shape_of(w), element or F32Type.get(w.context))
        self.build([w], [target], **place)

    def check(self) -> None:
        require_tensor("w", self.w)
        require_float("the result", self.out)
        require_shape("the result", self.out, shape_of(self.w))
        require(self.w.type != self.out.type, f"converts {self.w.type} to itself")

    def reference(self, *inputs: Datum) -> Tensor:
        return tensor_of(inputs[0], torch_dtype(self.out))

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(elements_of(self.w, tokens), traffic(self, tokens))
