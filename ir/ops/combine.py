"""`lm.combine`: what experts elsewhere made of tokens, sent back and summed."""

from collections.abc import Mapping, Sequence
from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require, require_activation, require_positive
from ingot.ir.collectives import require_devices, ring_share, rows_of, summed
from ingot.ir.costs import bytes_of, elements_of
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import tensor_of
from ingot.ir.types import activation_type, columns_of, is_choice


class Combine(Op, name="combine"):
    """The sum over the devices of `axis` of what each made of this device's tokens, `[T, H]`.

    `y` has the rows that `lm.dispatch` gave; `indices` `[T, k]` are the choices of this device's
    tokens, as they were dispatched.  A device where a token has no expert adds nothing.
    """

    collective = True

    y: Value
    indices: Value
    axis: str
    size: int
    experts: int
    out: OpResult

    def __init__(
        self,
        y: Value,
        indices: Value,
        *,
        axis: str,
        size: int,
        experts: int,
        **place: Unpack[Place],
    ) -> None:
        target = activation_type(columns_of(y), y.context)
        attributes: dict[str, AttributeValue] = {"axis": axis, "size": size, "experts": experts}
        self.build([y, indices], [target], attributes, **place)

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_positive("experts", self.experts)
        require(
            self.experts % self.size == 0,
            f"cannot part {self.experts} experts among {self.size} devices",
        )
        require_activation("y", self.y)
        found = self.indices.type
        require(is_choice(self.indices), f"needs indices to be tensor<?x_xi32>, found {found}")
        require_activation("the result", self.out, columns_of(self.y))

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        counts = [rows_of(indices) for _, indices in inputs]
        blocks = [torch.split(tensor_of(y), counts) for y, _ in inputs]
        choices = [tensor_of(indices) for _, indices in inputs]
        return [
            summed([self._told(blocks[d][source], choices[source], d) for d in range(len(inputs))])
            for source in range(len(inputs))
        ]

    def _told(self, block: Tensor, choices: Tensor, device: int) -> Tensor:
        """Return a block without the rows of tokens that have no expert on `device`."""
        here = choices // (self.experts // self.size) == device
        return block.masked_fill(~here.any(-1, keepdim=True), 0.0)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Count full blocks, as fixed shapes move them; `tokens` are those of the result."""
        block, whole = bytes_of(self.out, tokens), self.size * bytes_of(self.out, tokens)
        return Cost(
            (self.size - 1) * elements_of(self.out, tokens),
            whole + block,
            ring_share(self.size) * whole,
        )
