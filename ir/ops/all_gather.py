"""`lm.all_gather`: the parts that the devices along an axis have, put together on each of them."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from ingot.ir.checks import require_same_type
from ingot.ir.collectives import (
    joined,
    require_devices,
    require_dim,
    require_per_token,
    require_whole_groups,
    ring_share,
)
from ingot.ir.costs import bytes_of
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, Type, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.types import columns_of, resized_type


class AllGather(Op, name="all_gather"):
    """The x of the `size` devices along `axis`, one after the other along `dim`.

    x `[T, features]`, which may be rounded, or choices of a router; `dim` 0 joins rows, of which
    devices may have different numbers, 1 columns.
    """

    collective = True

    x: Value
    axis: str
    size: int
    dim: int
    out: OpResult

    def __init__(
        self, x: Value, *, axis: str, size: int, dim: int = 0, **place: Unpack[Place]
    ) -> None:
        attributes: dict[str, AttributeValue] = {"axis": axis, "size": size, "dim": dim}
        self.build([x], [_whole(x, dim, size)], attributes, **place)

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_dim(self.dim)
        require_per_token("x", self.x)
        require_whole_groups("the result", self.x, self.dim, columns_of(self.x))
        whole = _whole(self.x, self.dim, self.size)
        require_same_type("the result", self.out, "the joined parts", whole)

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        return operands - {self.axis}

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        whole = joined([x for (x,) in inputs], self.dim)
        return [whole for _ in inputs]

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Count a ring; `tokens` are those of the whole value."""
        whole = bytes_of(self.out, tokens)
        return Cost(0, whole / self.size + whole, ring_share(self.size) * whole)


def _whole(x: Value, dim: int, size: int) -> Type:
    return resized_type(x, 1, columns_of(x) * size) if dim == 1 else x.type
