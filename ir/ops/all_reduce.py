"""`lm.all_reduce`: the sum of what the devices along an axis have, on each of them."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from ingot.ir.checks import require_activation, require_same_type
from ingot.ir.collectives import (
    FLOAT32,
    exchanged_bytes,
    require_devices,
    require_exchanged,
    ring_share,
    sent_as,
    summed,
)
from ingot.ir.costs import elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place


class AllReduce(Op, name="all_reduce"):
    """The sum of x `[T, features]` over the `size` devices along `axis`.

    Its terms and the sum travel as numbers of type `dtype`.
    """

    collective = True

    x: Value
    axis: str
    size: int
    dtype: str
    out: OpResult

    def __init__(
        self, x: Value, *, axis: str, size: int, dtype: str = FLOAT32, **place: Unpack[Place]
    ) -> None:
        self.build([x], [x.type], {"axis": axis, "size": size, "dtype": dtype}, **place)

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_activation("x", self.x)
        require_exchanged(self.dtype, self.x)
        require_same_type("the result", self.out, "x", self.x.type)

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        return operands - {self.axis}

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        total = summed(sent_as([x for (x,) in inputs], self.dtype))
        return list(sent_as([total for _ in inputs], self.dtype))

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Count a ring: each device scatters sums of its parts, then gathers them."""
        share = ring_share(self.size)
        return Cost(
            share * elements_of(self.x, tokens),
            traffic(self, tokens),
            2 * share * exchanged_bytes(self.x, tokens, self.dtype),
        )
