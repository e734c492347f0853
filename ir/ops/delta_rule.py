"""`lm.delta_rule`: linear attention by the gated delta rule (Yang et al., 2024)."""

from collections.abc import Mapping
from typing import Unpack

from torch import Tensor

from ingot.ir.checks import (
    require,
    require_activation,
    require_batch,
    require_heads,
    require_positive,
    require_same_type,
)
from ingot.ir.costs import traffic
from ingot.ir.interpreter.recurrence import ragged_delta_rule
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of, split_heads, tensor_of
from ingot.ir.types import columns_of

STATE = "delta"
"""The name of the state within its layer."""


class DeltaRule(Op, name="delta_rule"):
    """`S = exp(g) S; S = S + k (beta (v - k S))^T; y = scale q S`, token after token.

    q and k `[T, key_heads x DK]`, v `[T, heads x DV]`, beta `[T, heads]`; value head h reads
    key head `h // (heads / key_heads)`.  g `[T, heads]` decays a head's whole state, g
    `[T, heads x DK]` each row of it alone (Kimi Team, "Kimi Linear", 2025).  Where `normalize`, q
    and k are brought to length 1 first.  The state of `layer`, S `[heads, DK, DV]`, is zero before
    the first token of a sequence.
    """

    pure = False

    q: Value
    k: Value
    v: Value
    g: Value
    beta: Value
    batch: Value
    layer: int
    heads: int
    key_heads: int
    scale: float
    normalize: bool
    out: OpResult

    def __init__(
        self,
        q: Value,
        k: Value,
        v: Value,
        g: Value,
        beta: Value,
        batch: Value,
        *,
        layer: int,
        heads: int,
        key_heads: int,
        scale: float,
        normalize: bool,
        **place: Unpack[Place],
    ) -> None:
        attributes = {
            "layer": layer,
            "heads": heads,
            "key_heads": key_heads,
            "scale": scale,
            "normalize": normalize,
        }
        self.build([q, k, v, g, beta, batch], [v.type], attributes, **place)

    @property
    def key_dim(self) -> int:
        """Features of a head of q and k, DK."""
        return columns_of(self.q) // self.key_heads

    @property
    def value_dim(self) -> int:
        """Features of a head of v, DV."""
        return columns_of(self.v) // self.heads

    @property
    def decays_rows(self) -> bool:
        """Whether each row of the state has a decay of its own."""
        return columns_of(self.g) != self.heads

    def check(self) -> None:
        for name in ("heads", "key_heads", "scale"):
            require_positive(name, getattr(self, name))
        require(self.layer >= 0, "needs layer of 0 or more")
        require(
            self.heads % self.key_heads == 0,
            f"needs heads that key_heads divide, found {self.heads} and {self.key_heads}",
        )
        for name in ("q", "k", "v"):
            require_activation(name, getattr(self, name))
        require_heads("q", self.q, self.key_heads, self.key_dim)
        require_heads("k", self.k, self.key_heads, self.key_dim)
        require_heads("v", self.v, self.heads, self.value_dim)
        columns = (self.heads, self.heads * self.key_dim)
        require_activation("g", self.g)
        require(
            columns_of(self.g) in columns,
            f"needs g of {columns[0]} or {columns[1]} features, found {columns_of(self.g)}",
        )
        require_activation("beta", self.beta, self.heads)
        require_batch("batch", self.batch)
        require_same_type("the result", self.out, "v", self.v.type)

    def states(self) -> Mapping[str, tuple[int, ...]]:
        return {STATE: (self.heads, self.key_dim, self.value_dim)}

    def reference(self, *inputs: Datum) -> Tensor:
        q, k, v, g, beta = (tensor_of(one) for one in inputs[:5])
        return ragged_delta_rule(
            split_heads(q, self.key_heads),
            split_heads(k, self.key_heads),
            split_heads(v, self.heads),
            split_heads(g, self.heads) if self.decays_rows else g,
            beta,
            batch_of(inputs[5]),
            layer=self.layer,
            scale=self.scale,
            normalize=self.normalize,
        ).flatten(-2)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """The state is read and written once, as float32, by the tokens of one sequence."""
        state = columns_of(self.v) * self.key_dim
        return Cost(7 * tokens * state, traffic(self, tokens) + 8 * state)
