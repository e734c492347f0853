"""`lm.reduce_scatter`: the sum of what the devices along an axis have, a part of it on each."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from ingot.ir.checks import require_activation
from ingot.ir.collectives import (
    FLOAT32,
    columns_divided,
    cut,
    exchanged_bytes,
    require_devices,
    require_dim,
    require_exchanged,
    ring_share,
    sent_as,
    summed,
)
from ingot.ir.costs import bytes_of, elements_of
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.types import activation_type, columns_of


class ReduceScatter(Op, name="reduce_scatter"):
    """Part c along `dim` of the sum of x over the `size` devices along `axis`, c its place there.

    x `[T, features]`; `dim` 0 parts rows, the first parts having one more where they do not divide
    evenly, 1 columns.  The terms travel as numbers of type `dtype`.
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
        columns = columns_of(x) // size if dim == 1 and size > 0 else columns_of(x)
        target = activation_type(columns, x.context)
        attributes: dict[str, AttributeValue] = {
            "axis": axis,
            "size": size,
            "dim": dim,
            "dtype": dtype,
        }
        self.build([x], [target], attributes, **place)

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_dim(self.dim)
        require_activation("x", self.x)
        require_exchanged(self.dtype, self.x)
        columns = columns_divided(self.x, self.size) if self.dim == 1 else columns_of(self.x)
        require_activation("the result", self.out, columns)

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        return operands | {self.axis} if self.size > 1 else operands

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        total = summed(sent_as([x for (x,) in inputs], self.dtype))
        parts = [cut(total, self.dim, self.size, place) for place in range(len(inputs))]
        return list(sent_as(parts, self.dtype))

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Count a ring; `tokens` are those of x."""
        whole, share = bytes_of(self.x, tokens), ring_share(self.size)
        return Cost(
            share * elements_of(self.x, tokens),
            whole + whole / self.size,
            share * exchanged_bytes(self.x, tokens, self.dtype),
        )
