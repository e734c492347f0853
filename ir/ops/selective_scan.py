"""`lm.selective_scan`: the selective scan of Mamba (Gu and Dao, 2023)."""

from collections.abc import Mapping
from typing import Unpack

from torch import Tensor

from ingot.ir.checks import (
    require,
    require_activation,
    require_batch,
    require_float,
    require_same_type,
    require_shape,
    require_vector,
)
from ingot.ir.costs import traffic
from ingot.ir.interpreter.recurrence import ragged_selective_scan
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of, tensor_of
from ingot.ir.types import columns_of

STATE = "selective"
"""The name of the state within its layer."""


class SelectiveScan(Op, name="selective_scan"):
    """`S = exp(dt a) S + dt x b^T`, `y = S c + d x` for every channel, token after token.

    x and dt `[T, C]`, a `[C, N]`, b and c `[T, N]`, d `[C]`.  The state of `layer`, S `[C, N]`, is
    zero before the first token of a sequence.
    """

    pure = False

    x: Value
    dt: Value
    a: Value
    b: Value
    c: Value
    batch: Value
    layer: int
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
        **place: Unpack[Place],
    ) -> None:
        self.build([x, dt, a, b, c, batch, d], [x.type], {"layer": layer}, **place)

    @property
    def state_size(self) -> int:
        """Columns of the state, N."""
        return columns_of(self.a)

    def check(self) -> None:
        require(self.layer >= 0, "needs layer of 0 or more")
        require_activation("x", self.x)
        channels = columns_of(self.x)
        require_activation("dt", self.dt, channels)
        require_float("a", self.a)
        require_shape("a", self.a, [channels, None])
        require_activation("b", self.b, self.state_size)
        require_activation("c", self.c, self.state_size)
        if self.d is not None:
            require_vector("d", self.d, channels)
        require_batch("batch", self.batch)
        require_same_type("the result", self.out, "x", self.x.type)

    def states(self) -> Mapping[str, tuple[int, ...]]:
        return {STATE: (columns_of(self.x), self.state_size)}

    def reference(self, *inputs: Datum) -> Tensor:
        x, dt = tensor_of(inputs[0]), tensor_of(inputs[1])
        a, *d = (tensor_of(one, x.dtype) for one in (inputs[2], *inputs[6:]))
        b, c = tensor_of(inputs[3]), tensor_of(inputs[4])
        skip = d[0] if d else None
        return ragged_selective_scan(x, dt, a, b, c, skip, batch_of(inputs[5]), layer=self.layer)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """The state is read and written once, as float32, by the tokens of one sequence."""
        state = columns_of(self.x) * self.state_size
        return Cost(14 * tokens * state, traffic(self, tokens) + 8 * state)
