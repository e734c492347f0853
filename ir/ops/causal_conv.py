"""`lm.causal_conv`: a short convolution of every channel along its sequence."""

from collections.abc import Mapping
from typing import Unpack

from torch import Tensor

from ingot.ir.checks import (
    require,
    require_activation,
    require_batch,
    require_choice,
    require_float,
    require_same_type,
    require_vector,
)
from ingot.ir.costs import elements_of, traffic
from ingot.ir.functions import ACTIVATIONS
from ingot.ir.interpreter.recurrence import ragged_conv
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import AttributeValue, OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of, tensor_of
from ingot.ir.types import columns_of, shape_of

NONE = "none"


def state_name(index: int) -> str:
    """Return the name, within its layer, of what the layer's convolution `index` carries."""
    return f"conv{index}"


class CausalConv(Op, name="causal_conv"):
    """`kind(sum_j w[:, j] * x[t - width + 1 + j] + bias)` over the tokens of each sequence.

    x `[T, C]`, w `[C, width]` or `[C, 1, width]`, bias `[C]`.  The state of `layer`, the last
    width - 1 inputs of a sequence, is zero before its first token; `index` tells several
    convolutions of one layer apart.  `kind` is an activation, or none.
    """

    pure = False

    x: Value
    w: Value
    batch: Value
    layer: int
    index: int
    kind: str
    out: OpResult
    bias: Value | None = None

    def __init__(
        self,
        x: Value,
        w: Value,
        batch: Value,
        bias: Value | None = None,
        *,
        layer: int,
        index: int = 0,
        kind: str = NONE,
        **place: Unpack[Place],
    ) -> None:
        attributes: dict[str, AttributeValue] = {"layer": layer, "index": index, "kind": kind}
        self.build([x, w, batch, bias], [x.type], attributes, **place)

    @property
    def width(self) -> int:
        """How many tokens a result reads."""
        return columns_of(self.w)

    def check(self) -> None:
        require_activation("x", self.x)
        require_float("w", self.w)
        channels, sizes = columns_of(self.x), shape_of(self.w)
        fits = sizes in ([channels, sizes[-1]], [channels, 1, sizes[-1]]) and sizes[-1] > 0
        require(fits, f"needs w of shape <{channels}x_> or <{channels}x1x_>, found {self.w.type}")
        if self.bias is not None:
            require_vector("bias", self.bias, channels)
        require_batch("batch", self.batch)
        for name in ("layer", "index"):
            require(getattr(self, name) >= 0, f"needs {name} of 0 or more")
        require_choice("kind", self.kind, (NONE, *ACTIVATIONS))
        require_same_type("the result", self.out, "x", self.x.type)

    def states(self) -> Mapping[str, tuple[int, ...]]:
        return {state_name(self.index): (self.width - 1, columns_of(self.x))}

    def reference(self, *inputs: Datum) -> Tensor:
        x = tensor_of(inputs[0])
        w = tensor_of(inputs[1], x.dtype).reshape(x.shape[1], -1)
        bias = tensor_of(inputs[3], x.dtype) if len(inputs) > 3 else None
        name = state_name(self.index)
        y = ragged_conv(x, w, bias, batch_of(inputs[2]), layer=self.layer, name=name)
        return y if self.kind == NONE else ACTIVATIONS[self.kind](y)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        elements = elements_of(self.x, tokens)
        return Cost((2 * self.width + 8) * elements, traffic(self, tokens))
