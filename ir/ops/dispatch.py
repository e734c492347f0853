"""`lm.dispatch`: tokens sent to the devices that hold their experts."""

from collections.abc import Mapping, Sequence
from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require, require_activation, require_positive, require_same_type
from ingot.ir.collectives import joined, require_devices, ring_share
from ingot.ir.costs import bytes_of
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.references import tensor_of
from ingot.ir.types import columns_of, is_choice


class Dispatch(Op, name="dispatch"):
    """x, indices, weights of the tokens that have an expert here, with local expert numbers.

    Device c of `axis` holds the `experts` / size experts from c · experts / size on.  The rows of
    the results are `size` blocks, one for each source device in order; row t of a block is token t
    of that device, or zeros where none of its experts is here.  So nothing is dropped, and a token
    travels once to a device.  Choices of experts elsewhere have weight 0 and index 0: what reads
    the results must give nothing for weight 0, as `lm.experts` does unless it weighs its input.

    x `[T, H]` may be rounded; indices `[T, k]` i32 and weights `[T, k]` as `lm.route` makes them.
    """

    collective = True

    x: Value
    indices: Value
    weights: Value
    axis: str
    size: int
    experts: int
    out: OpResult
    local_indices: OpResult
    local_weights: OpResult

    def __init__(
        self,
        x: Value,
        indices: Value,
        weights: Value,
        *,
        axis: str,
        size: int,
        experts: int,
        **place: Unpack[Place],
    ) -> None:
        attributes: dict[str, AttributeValue] = {"axis": axis, "size": size, "experts": experts}
        kinds = [x.type, indices.type, weights.type]
        self.build([x, indices, weights], kinds, attributes, **place)

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_positive("experts", self.experts)
        require(
            self.experts % self.size == 0,
            f"cannot part {self.experts} experts among {self.size} devices",
        )
        require_activation("x", self.x, may_be_rounded=True)
        found = self.indices.type
        require(is_choice(self.indices), f"needs indices to be tensor<?x_xi32>, found {found}")
        require_activation("weights", self.weights, columns_of(self.indices))
        for result, operand in zip(self.results, self.operands, strict=True):
            require_same_type("a result", result, "its operand", operand.type)

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        return operands | {self.axis} if self.size > 1 else operands

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        return [self._received(inputs, device) for device in range(len(inputs))]

    def _received(self, inputs: Sequence[Sequence[Datum]], device: int) -> tuple[Datum, ...]:
        """Return x, indices and weights of all sources, as `device` gets them."""
        count = self.experts // self.size
        blocks: list[tuple[Datum, Datum, Datum]] = []
        for x, indices, weights in inputs:
            local = tensor_of(indices) - device * count
            here = (local >= 0) & (local < count)
            block = local.masked_fill(~here, 0), tensor_of(weights).masked_fill(~here, 0.0)
            blocks.append((_kept(x, here.any(-1)), *block))
        return tuple(joined(parts, 0) for parts in zip(*blocks, strict=True))

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Count full blocks, as fixed shapes move them; `tokens` are those of one source."""
        sent = sum(bytes_of(value, tokens) for value in self.operands)
        return Cost(0, sent + self.size * sent, ring_share(self.size) * self.size * sent)


def _kept(x: Datum, rows: Tensor) -> Datum:
    """Return x with zeros in all but these rows."""
    gone = ~rows.unsqueeze(-1)
    if not isinstance(x, QuantTensor):
        return tensor_of(x).masked_fill(gone, 0.0)
    return QuantTensor(x.encoding, x.values.masked_fill(gone, 0), torch.where(gone, 1.0, x.scales))
