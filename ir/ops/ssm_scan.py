"""`lm.ssm_scan`: the state space scan of Mamba-2 (Dao and Gu, 2024)."""

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
    require_vector,
)
from ingot.ir.costs import traffic
from ingot.ir.interpreter.recurrence import ragged_ssm_scan
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of, split_heads, tensor_of
from ingot.ir.types import columns_of

STATE = "ssm"
"""The name of the state within its layer."""


class SsmScan(Op, name="ssm_scan"):
    """`S = exp(dt a) S + dt x b^T`, `y = S c + d x` for every head, token after token.

    x `[T, heads x P]`, dt `[T, heads]`, a and d `[heads]`, b and c `[T, groups x N]`; head h
    reads group `h // (heads / groups)`.  The state of `layer`, S `[heads, P, N]`, is zero before
    the first token of a sequence.
    """

    pure = False

    x: Value
    dt: Value
    a: Value
    b: Value
    c: Value
    batch: Value
    layer: int
    heads: int
    groups: int
    out: OpResult
    d: Value | None = None

    def __init__(
        self,
        x: Value,
        dt: Value,
        a: Value,
        b: Value,
        c: Value,
        batch: Value,
        d: Value | None = None,
        *,
        layer: int,
        heads: int,
        groups: int,
        **place: Unpack[Place],
    ) -> None:
        attributes = {"layer": layer, "heads": heads, "groups": groups}
        self.build([x, dt, a, b, c, batch, d], [x.type], attributes, **place)

    @property
    def head_dim(self) -> int:
        """Features of one head, P."""
        return columns_of(self.x) // self.heads

    @property
    def state_size(self) -> int:
        """Columns of the state, N."""
        return columns_of(self.b) // self.groups

    def check(self) -> None:
        for name in ("heads", "groups"):
            require_positive(name, getattr(self, name))
        require(self.layer >= 0, "needs layer of 0 or more")
        require(
            self.heads % self.groups == 0,
            f"needs heads that groups divide, found {self.heads} and {self.groups}",
        )
        require_activation("x", self.x)
        require_heads("x", self.x, self.heads, self.head_dim)
        require_activation("dt", self.dt, self.heads)
        require_vector("a", self.a, self.heads)
        for name in ("b", "c"):
            require_activation(name, getattr(self, name))
            require_heads(name, getattr(self, name), self.groups, self.state_size)
        if self.d is not None:
            require_vector("d", self.d, self.heads)
        require_batch("batch", self.batch)
        require_same_type("the result", self.out, "x", self.x.type)

    def states(self) -> Mapping[str, tuple[int, ...]]:
        return {STATE: (self.heads, self.head_dim, self.state_size)}

    def reference(self, *inputs: Datum) -> Tensor:
        x, dt = tensor_of(inputs[0]), tensor_of(inputs[1])
        a, *d = (tensor_of(one, x.dtype) for one in (inputs[2], *inputs[6:]))
        return ragged_ssm_scan(
            split_heads(x, self.heads),
            dt,
            a,
            split_heads(tensor_of(inputs[3]), self.groups),
            split_heads(tensor_of(inputs[4]), self.groups),
            d[0] if d else None,
            batch_of(inputs[5]),
            layer=self.layer,
        ).flatten(-2)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """The state is read and written once, as float32, by the tokens of one sequence."""
        state = columns_of(self.x) * self.state_size
        return Cost(6 * tokens * state, traffic(self, tokens) + 8 * state)
