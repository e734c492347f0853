"""`lm.example_clipped_glu`: a gated unit that clamps what it reads, as GPT-OSS does."""

from typing import Unpack

from ingot.ir import (
    ACTIVATIONS,
    Cost,
    Datum,
    Op,
    OpResult,
    Place,
    Value,
    activation_type,
    columns_of,
    elements_of,
    require_activation,
    require_choice,
    require_positive,
    rounded_as,
    traffic,
    with_weights,
)


class ClippedGlu(Op, name="example_clipped_glu"):
    """`kind(min(gate, limit)) * clamp(up, -limit, limit)`, element by element."""

    can_round = True
    row_wise = True

    gate: Value
    up: Value
    kind: str
    limit: float
    out: OpResult

    def __init__(
        self,
        gate: Value,
        up: Value,
        *,
        kind: str,
        limit: float,
        rounded: bool = False,
        **place: Unpack[Place],
    ) -> None:
        target = activation_type(columns_of(gate), gate.context, rounded=rounded)
        self.build([gate, up], [target], {"kind": kind, "limit": limit}, **place)

    def check(self) -> None:
        """Raise InvalidOp for operands that do not fit each other."""
        require_activation("gate", self.gate)
        columns = columns_of(self.gate)
        require_activation("up", self.up, columns)
        require_choice("kind", self.kind, tuple(ACTIVATIONS))
        require_positive("limit", self.limit)
        require_activation("the result", self.out, columns, may_be_rounded=True)

    def reference(self, *inputs: Datum) -> Datum:
        """Compute it with torch."""
        gate, up = with_weights(inputs)
        clipped = up.clamp(-self.limit, self.limit)
        return rounded_as(ACTIVATIONS[self.kind](gate.clamp(max=self.limit)) * clipped, self.out)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Return the work for `tokens` tokens."""
        return Cost(12 * elements_of(self.gate, tokens), traffic(self, tokens))
