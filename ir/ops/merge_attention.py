"""`lm.merge_attention`: attention over parts of the tokens, made one over all of them."""

from collections.abc import Mapping, Sequence
from typing import Unpack

import torch

from ingot.ir.checks import require, require_activation, require_positive, require_same_type
from ingot.ir.collectives import require_devices, ring_share
from ingot.ir.costs import bytes_of, elements_of, traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import split_heads, tensor_of
from ingot.ir.types import columns_of


class MergeAttention(Op, name="merge_attention"):
    """Σ exp(lse - m) y / Σ exp(lse - m) over the devices along `axis`, m the largest lse.

    y `[T, heads x value_dim]` and lse `[T, heads]` as `lm.partial_attention` makes them; merged as
    in online softmax (Milakov and Gimelshein, 2018).
    """

    collective = True

    y: Value
    lse: Value
    axis: str
    size: int
    heads: int
    out: OpResult

    def __init__(
        self, y: Value, lse: Value, *, axis: str, size: int, heads: int, **place: Unpack[Place]
    ) -> None:
        attributes: dict[str, AttributeValue] = {"axis": axis, "size": size, "heads": heads}
        self.build([y, lse], [y.type], attributes, **place)

    def check(self) -> None:
        require_devices(self.axis, self.size)
        require_positive("heads", self.heads)
        require_activation("y", self.y)
        columns = columns_of(self.y)
        fits = columns % self.heads == 0
        require(fits, f"needs features that {self.heads} heads divide, found {columns}")
        require_activation("lse", self.lse, self.heads)
        require_same_type("the result", self.out, "y", self.y.type)

    def varies(self, operands: frozenset[str]) -> frozenset[str]:
        return operands - {self.axis}

    def across(
        self, inputs: Sequence[Sequence[Datum]], coordinates: Sequence[Mapping[str, int]]
    ) -> list[Datum | tuple[Datum, ...]]:
        lse = torch.stack([tensor_of(one) for _, one in inputs])
        y = torch.stack([split_heads(tensor_of(one), self.heads) for one, _ in inputs])
        # Where no device sees a token, all lse are -inf, and the result is 0.
        largest = lse.amax(0).nan_to_num(neginf=0.0)
        weights = torch.exp(lse - largest)
        total = weights.sum(0)
        shares = (weights / total.masked_fill(total == 0, 1.0)).unsqueeze(-1)
        merged = (shares * y).sum(0).flatten(-2)
        return [merged for _ in inputs]

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Count the sums of the weighed y and of the weights, each over a ring."""
        share = ring_share(self.size)
        moved = bytes_of(self.y, tokens) + bytes_of(self.lse, tokens)
        return Cost(4 * elements_of(self.y, tokens), traffic(self, tokens), 2 * share * moved)
