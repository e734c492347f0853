"""`lm.send_recv`: a value handed from one stage of a pipeline to the next."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from ingot.ir.checks import require, require_positive, require_same_type
from ingot.ir.collectives import require_per_token
from ingot.ir.costs import bytes_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place


class SendRecv(Op, name="send_recv"):
    """x on the devices whose place along `axis` is `stage`, from those at stage - 1.

    A device sends to the one that differs from it in its place along `axis` alone.  An operation
    belongs to the stage of its operands, to stage 0 without any (`ingot.ir.stages_of`).
    """

    collective = True

    x: Value
    axis: str
    stage: int
    out: OpResult

    def __init__(self, x: Value, *, stage: int, axis: str = "pp", **place: Unpack[Place]) -> None:
        self.build([x], [x.type], {"axis": axis, "stage": stage}, **place)

    def check(self) -> None:
        require(self.axis == "pp", f"needs axis pp, along which layers lie, found {self.axis!r}")
        require_positive("stage", self.stage)
        require_per_token("x", self.x)
        require_same_type("the result", self.out, "x", self.x.type)

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        """Return what the receiver of each sender gets; `inputs` are those of senders alone."""
        return [x for (x,) in inputs]

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, traffic(self, tokens), bytes_of(self.x, tokens))
