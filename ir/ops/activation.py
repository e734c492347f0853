"""`lm.activation`: a non-linear function of every element."""

from typing import Unpack

from ingot.ir.checks import require_activation, require_choice, require_same_type
from ingot.ir.dialect import Op, Place
from ingot.ir.functions import ACTIVATIONS
from ingot.ir.mlir import OpResult, Value


class Activation(Op, name="activation"):
    """`kind(x)`: silu, gelu, gelu_tanh, relu, relu2, sigmoid or tanh."""

    x: Value
    kind: str
    out: OpResult

    def __init__(self, x: Value, *, kind: str, **place: Unpack[Place]) -> None:
        self.build([x], [x.type], {"kind": kind}, **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require_choice("kind", self.kind, tuple(ACTIVATIONS))
        require_same_type("the result", self.out, "x", self.x.type)
