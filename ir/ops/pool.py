"""`lm.pool`: one row for each sequence of the step."""

from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require_activation, require_batch, require_choice
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.pooling import POOLINGS, pooled
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of, tensor_of
from ingot.ir.types import activation_type, columns_of


class Pool(Op, name="pool"):
    """The first row of each sequence (cls), its last (last), or the mean or maximum of all.

    x `[T, features]`, the result `[S, features]` in the order of the sequences, each of which must
    be whole in the step.
    """

    x: Value
    batch: Value
    kind: str
    out: OpResult

    def __init__(self, x: Value, batch: Value, *, kind: str, **place: Unpack[Place]) -> None:
        target = activation_type(columns_of(x), x.context)
        self.build([x, batch], [target], {"kind": kind}, **place)

    def check(self) -> None:
        require_activation("x", self.x)
        require_batch("batch", self.batch)
        require_choice("kind", self.kind, POOLINGS)
        require_activation("the result", self.out, columns_of(self.x))

    def reference(self, *inputs: Datum) -> Tensor:
        return pooled(tensor_of(inputs[0]), batch_of(inputs[1]).starts, self.kind)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Take all rows as read: an upper bound."""
        return Cost(elements_of(self.x, tokens), traffic(self, tokens))
