"""`lm.example_quick_gelu`: GELU approximated by a sigmoid (Hendrycks and Gimpel, 2016).

Nothing here knows of a target: every one compiles it from the reference.
"""

from typing import Unpack

import torch

from ingot.ir import (
    Cost,
    Datum,
    Op,
    OpResult,
    Place,
    Value,
    elements_of,
    require_activation,
    require_positive,
    require_same_type,
    tensor_of,
    traffic,
)


class QuickGelu(Op, name="example_quick_gelu"):
    """`x * sigmoid(steepness * x)`."""

    row_wise = True

    x: Value
    steepness: float
    out: OpResult

    def __init__(self, x: Value, *, steepness: float, **place: Unpack[Place]) -> None:
        self.build([x], [x.type], {"steepness": steepness}, **place)

    def check(self) -> None:
        """Raise InvalidOp for an operand of the wrong type."""
        require_activation("x", self.x)
        require_positive("steepness", self.steepness)
        require_same_type("the result", self.out, "x", self.x.type)

    def reference(self, *inputs: Datum) -> torch.Tensor:
        """Compute it with torch."""
        x = tensor_of(inputs[0])
        return x * torch.sigmoid(self.steepness * x)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Return the work for `tokens` tokens."""
        return Cost(5 * elements_of(self.x, tokens), traffic(self, tokens))
