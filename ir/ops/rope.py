"""`lm.rope`: rotary position embedding (Su et al., 2021)."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import (
    require,
    require_activation,
    require_float,
    require_indices,
    require_positive,
    require_same_type,
    require_shape,
)
from ingot.ir.costs import traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import split_heads, tensor_of
from ingot.ir.types import columns_of, shape_of


class Rope(Op, name="rope"):
    """Rotates pairs of features of every head by `position * inv_freq`.

    inv_freq `[rotary_dim / 2]`; the rotary_dim features of a head from `offset` on are rotated, the
    others pass unchanged.  Pairs are `(i, i + rotary_dim / 2)`, or `(2i, 2i + 1)` where
    `interleaved`, counted from `offset`.  `scale` multiplies cos and sin.
    """

    x: Value
    positions: Value
    inv_freq: Value
    heads: int
    scale: float
    interleaved: bool
    offset: int
    out: OpResult

    def __init__(
        self,
        x: Value,
        positions: Value,
        inv_freq: Value,
        *,
        heads: int,
        scale: float = 1.0,
        interleaved: bool = False,
        offset: int = 0,
        **place: Unpack[Place],
    ) -> None:
        attributes = {
            "heads": heads,
            "scale": scale,
            "interleaved": interleaved,
            "offset": offset,
        }
        self.build([x, positions, inv_freq], [x.type], attributes, **place)

    @property
    def head_dim(self) -> int:
        """Features of one head."""
        return columns_of(self.x) // self.heads

    @property
    def rotary_dim(self) -> int:
        """Features of one head that are rotated."""
        return 2 * shape_of(self.inv_freq)[0]

    def check(self) -> None:
        require_activation("x", self.x)
        require_indices("positions", self.positions)
        require_float("inv_freq", self.inv_freq)
        require_shape("inv_freq", self.inv_freq, [None])
        require_positive("heads", self.heads)
        columns = columns_of(self.x)
        require(
            columns % self.heads == 0,
            f"needs features that {self.heads} heads divide, found {columns}",
        )
        require(
            0 < self.rotary_dim <= self.head_dim,
            f"needs inv_freq of 1 to {self.head_dim // 2} elements, half of a head's "
            f"{self.head_dim} features, found {self.inv_freq.type}",
        )
        most = self.head_dim - self.rotary_dim
        require(
            0 <= self.offset <= most,
            f"needs an offset of 0 to {most}, so that rotated features lie in the head, "
            f"found {self.offset}",
        )
        require_same_type("the result", self.out, "x", self.x.type)

    def reference(self, *inputs: Datum) -> Tensor:
        x, positions = tensor_of(inputs[0]), tensor_of(inputs[1])
        angles = positions.to(x.dtype).unsqueeze(-1) * tensor_of(inputs[2], x.dtype)
        cos = (torch.cos(angles) * self.scale).unsqueeze(1)
        sin = (torch.sin(angles) * self.scale).unsqueeze(1)
        heads = split_heads(x, self.heads)
        end = self.offset + self.rotary_dim
        rotated = heads[..., self.offset : end]
        if self.interleaved:
            first, second = rotated[..., 0::2], rotated[..., 1::2]
        else:
            first, second = rotated.chunk(2, dim=-1)
        turned = (first * cos - second * sin, second * cos + first * sin)
        joined = torch.stack(turned, -1).flatten(-2) if self.interleaved else torch.cat(turned, -1)
        parts = (heads[..., : self.offset], joined, heads[..., end:])
        return torch.cat(parts, -1).flatten(-2)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(3 * tokens * self.heads * self.rotary_dim, traffic(self, tokens))
