"""`lm.glu`: a gated linear unit's product (Shazeer, 2020)."""

from typing import Unpack

from ingot.ir.checks import require_activation, require_choice
from ingot.ir.costs import elements_of, traffic
from ingot.ir.functions import ACTIVATIONS
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import rounded_as, with_weights
from ingot.ir.types import activation_type, columns_of


class Glu(Op, name="glu"):
    """`kind(gate) * up`, element by element."""

    can_round = True

    gate: Value
    up: Value
    kind: str
    out: OpResult

    def __init__(
        self,
        gate: Value,
        up: Value,
        *,
        kind: str,
        rounded: bool = False,
        **place: Unpack[Place],
    ) -> None:
        target = activation_type(columns_of(gate), gate.context, rounded=rounded)
        self.build([gate, up], [target], {"kind": kind}, **place)

    def check(self) -> None:
        require_activation("gate", self.gate)
        columns = columns_of(self.gate)
        require_activation("up", self.up, columns)
        require_choice("kind", self.kind, tuple(ACTIVATIONS))
        require_activation("the result", self.out, columns, may_be_rounded=True)

    def reference(self, *inputs: Datum) -> Datum:
        gate, up = with_weights(inputs)
        return rounded_as(ACTIVATIONS[self.kind](gate) * up, self.out)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(9 * elements_of(self.gate, tokens), traffic(self, tokens))
