"""`lm.add_constant`: every element plus a constant."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require_float, require_shape
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import float_tensor, shape_of, torch_dtype


class AddConstant(Op, name="add_constant"):
    """`x + constant` in float32; x is an activation or a float weight, such as the w of `1 + w`."""

    row_wise = True

    x: Value
    constant: float
    out: OpResult

    def __init__(self, x: Value, *, constant: float, **place: Unpack[Place]) -> None:
        target = float_tensor(shape_of(x), x.context)
        self.build([x], [target], {"constant": constant}, **place)

    def check(self) -> None:
        require_float("x", self.x)
        require_float("the result", self.out)
        require_shape("the result", self.out, shape_of(self.x))

    def reference(self, *inputs: Datum) -> Tensor:
        x = tensor_of(inputs[0])
        # A stored weight is widened first; activations keep the interpreter's type.
        wide = x if x.element_size() >= 4 else x.to(torch_dtype(self.out))
        return wide + self.constant

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(elements_of(self.x, tokens), traffic(self, tokens))
