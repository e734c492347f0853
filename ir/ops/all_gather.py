"""`lm.all_gather`: the parts that the devices along an axis have, put together on each of them."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from ingot.ir.checks import require_same_type
from ingot.ir.collectives import (
    FLOAT32,
    exchanged_bytes,
    joined,
    require_devices,
    require_dim,
    require_exchanged,
    require_per_token,
    require_whole_groups,
    ring_share,
    sent_as,
)
from ingot.ir.costs import bytes_of
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, Type, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.types import columns_of, resized_type


class AllGather(Op, name="all_gather"):
    """The x of the `size` devices along `axis`, one after the other along `dim`.

    x `[T, features]`, which may be rounded, or choices of a router; `dim` 0 joins rows, of which
    devices may have different numbers, 1 columns.  Floats travel as numbers of type `dtype`.
    """

    collective = True

    x: Value
    axis: str
    size: int
    dim: int
    dtype: str
    out: OpResult

    def __init__(
        self,
        x: Value,
        *,
        axis: str,
        size: int,
        dim: int = 0,
        dtype: str = FLOAT32,
        **place: Unpack[Place],
    ) -> None:
        attributes: dict[str, AttributeValue] = {
            "axis": axis,
            "size": size,
            "dim": dim,
            "dtype": dtype,
        }
        self.build([x], [_whole(x, dim, size)], attributes, **place)

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_dim(self.dim)
        require_per_token("x", self.x)
        require_exchanged(self.dtype, self.x)
        require_whole_groups("the result", self.x, self.dim, columns_of(self.x))
        whole = _whole(self.x, self.dim, self.size)
        require_same_type("the result", self.out, "the joined parts", whole)

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        return operands - {self.axis}

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        whole = joined(sent_as([x for (x,) in inputs], self.dtype), self.dim)
        return [whole for _ in inputs]

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Count a ring; `tokens` are those of the whole value."""
        whole = bytes_of(self.out, tokens)
        sent = ring_share(self.size) * exchanged_bytes(self.out, tokens, self.dtype)
        return Cost(0, whole / self.size + whole, sent)


def _whole(x: Value, dim: int, size: int) -> Type:
    return resized_type(x, 1, columns_of(x) * size) if dim == 1 else x.type
