"""`lm.weight`: a tensor of the checkpoint, by name."""

from typing import Unpack

from ingot.ir.checks import require
from ingot.ir.mlir import DYNAMIC, OpResult, Type
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.types import shape_of


class Weight(Op, name="weight"):
    """The tensor named `symbol`; the result type is the type as stored in the checkpoint."""

    symbol: str
    out: OpResult

    def __init__(
        self,
        symbol: str,
        kind: Type,
        **place: Unpack[Place],
    ) -> None:
        self.build([], [kind], {"symbol": symbol}, **place)

    def check(self) -> None:
        require(bool(self.symbol), "needs a name in symbol, found an empty one")
        require(DYNAMIC not in shape_of(self.out), f"needs known sizes, found {self.out.type}")

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost()
