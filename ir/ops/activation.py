"""`lm.activation`: a non-linear function of every element."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require_activation, require_choice, require_same_type
from ingot.ir.costs import elements_of, traffic
from ingot.ir.functions import ACTIVATIONS
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of


class Activation(Op, name="activation"):
    """`kind(x)`: silu, gelu, gelu_tanh, relu, relu2, sigmoid, tanh or softplus."""

    x: Value
    kind: str
    out: OpResult

    def __init__(self, x: Value, *, kind: str, **place: Unpack[Place]) -> None:
        self.build([x], [x.type], {"kind": kind}, **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require_choice("kind", self.kind, tuple(ACTIVATIONS))
        require_same_type("the result", self.out, "x", self.x.type)

    def reference(self, *inputs: Datum) -> Tensor:
        return ACTIVATIONS[self.kind](tensor_of(inputs[0]))

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(8 * elements_of(self.x, tokens), traffic(self, tokens))
