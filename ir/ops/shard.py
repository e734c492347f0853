"""`lm.shard`: the part of a tensor that a device of a mesh holds."""

from collections.abc import Mapping, Sequence
from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require, require_positive, require_same_type
from ingot.ir.collectives import (
    cut,
    is_dynamic,
    place_along,
    require_devices,
    require_whole_groups,
)
from ingot.ir.costs import bytes_of
from ingot.ir.dialect import Quant
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, RankedTensorType, Type, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.types import is_per_token, resized_type, shape_of


class Shard(Op, name="shard"):
    """This device's part of dimension `dim` of x, a weight (plain or encoded) or per token.

    The dimension is `blocks` equal blocks, each cut in `parts` equal parts, and the device whose
    place along `axis` is c holds part c // (size // parts) of every block, one after the other.
    Rows (dimension 0 of a value per token) need not divide evenly: the first parts have one more.
    """

    collective = True

    x: Value
    axis: str
    size: int
    parts: int
    dim: int
    blocks: int
    out: OpResult

    def __init__(
        self,
        x: Value,
        *,
        axis: str,
        size: int,
        parts: int = 0,
        dim: int = 0,
        blocks: int = 1,
        **place: Unpack[Place],
    ) -> None:
        """`parts` 0: as many as devices."""
        parts = parts or size
        attributes: dict[str, AttributeValue] = {
            "axis": axis,
            "size": size,
            "parts": parts,
            "dim": dim,
            "blocks": blocks,
        }
        self.build([x], [_part(x, dim, parts)], attributes, **place)

    @property
    def devices_per_part(self) -> int:
        """How many neighbouring devices hold the same part."""
        return self.size // self.parts

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_positive("parts", self.parts)
        require_positive("blocks", self.blocks)
        require(
            self.size % self.parts == 0,
            f"needs a size that parts divide, found {self.size} and {self.parts}",
        )
        kind = self.x.type
        is_tensor = isinstance(kind, Quant | RankedTensorType)
        require(is_tensor, f"needs x to be a ranked tensor or !lm.quant, found {kind}")
        rank = len(shape_of(self.x))
        require(0 <= self.dim < rank, f"needs dim below {rank}, found {self.dim}")
        if is_dynamic(self.x, self.dim):
            require(self.blocks == 1, f"cannot part tokens in {self.blocks} blocks")
        else:
            self._check_division()
        expected = _part(self.x, self.dim, self.parts)
        require_same_type("the result", self.out, "the part", expected)

    def _check_division(self) -> None:
        size, pieces = shape_of(self.x)[self.dim], self.parts * self.blocks
        inside = f" in each of {self.blocks} blocks" if self.blocks > 1 else ""
        require(
            size % pieces == 0,
            f"cannot cut dimension {self.dim} of {self.x.type} into {self.parts} parts{inside}",
        )
        require_whole_groups("x", self.x, self.dim, size // pieces)

    def part(self, x: Datum, coordinates: Mapping[str, int]) -> Tensor | QuantTensor:
        """Return what the device at `coordinates` holds of x: a view where that is possible."""
        place = place_along(self.axis, self.size, coordinates)
        return cut(x, self.dim, self.parts, place // self.devices_per_part, self.blocks)

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        return operands | {self.axis} if self.parts > 1 else operands

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        return [self.part(x, place) for (x,), place in zip(inputs, coordinates, strict=True)]

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """A part of a weight is cut when the artifact is written, not in a step."""
        if not is_per_token(self.x):
            return Cost()
        rows = self.parts if is_dynamic(self.x, self.dim) else 1
        return Cost(0, 2 * bytes_of(self.out, tokens) / rows)


def _part(x: Value, dim: int, parts: int) -> Type:
    rank = len(shape_of(x))
    if not 0 <= dim < rank or is_dynamic(x, dim) or parts < 1:
        return x.type
    return resized_type(x, dim, shape_of(x)[dim] // parts)
