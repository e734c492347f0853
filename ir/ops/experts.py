"""`lm.experts`: each token through the experts that it was routed to."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import (
    require,
    require_activation,
    require_choice,
    require_positive,
    require_shape,
    require_vector,
)
from ingot.ir.costs import bytes_of, elements_of
from ingot.ir.encoding import ACTIVATION, BF16_ACTIVATION, Encoding
from ingot.ir.functions import ACTIVATIONS
from ingot.ir.interpreter.experts import ExpertUnit, Linear, mix_experts
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import DYNAMIC, AttributeValue, OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.references import tensor_of
from ingot.ir.rounding import round_activations
from ingot.ir.types import (
    activation_type,
    columns_of,
    encoding_of,
    is_bfloat16,
    is_choice,
    shape_of,
)


class Experts(Op, name="experts"):
    """The sum over the k chosen of weight · down(unit(up(x))): x `[T, H]` → `[T, H']`.

    `indices` `[T, k]` (i32) and `weights` `[T, k]` say which experts and how much; an index names
    an expert at most once a token.  `up` `[E·U, H]` and `down` `[E·H', F]` hold the `experts` one
    below the other, each in any encoding; biases `[E·U]`, `[E·H']`.  What lies between, by `kind`,
    `gated` (then U = 2 F, gates first), `alpha`, `limit` and `up_shift`, is an `ExpertUnit`.
    `weigh_input`: the weights multiply what goes into the experts.  `round_hidden`: what goes into
    `down` is rounded as by `lm.round`, to `int8-act` or, where `down` is bfloat16, to `bf16-act`.
    """

    row_wise = True

    x: Value
    indices: Value
    weights: Value
    up: Value
    down: Value
    experts: int
    kind: str
    gated: bool
    alpha: float
    limit: float
    up_shift: float
    weigh_input: bool
    round_hidden: bool
    out: OpResult
    up_bias: Value | None = None
    down_bias: Value | None = None

    def __init__(
        self,
        x: Value,
        indices: Value,
        weights: Value,
        up: Value,
        down: Value,
        up_bias: Value | None = None,
        down_bias: Value | None = None,
        *,
        experts: int,
        unit: ExpertUnit,
        weigh_input: bool = False,
        round_hidden: bool = False,
        **place: Unpack[Place],
    ) -> None:
        attributes: dict[str, AttributeValue] = {
            "experts": experts,
            "kind": unit.kind,
            "gated": unit.gated,
            "alpha": unit.alpha,
            "limit": unit.limit,
            "up_shift": unit.up_shift,
            "weigh_input": weigh_input,
            "round_hidden": round_hidden,
        }
        operands = [x, indices, weights, up, down, up_bias, down_bias]
        target = activation_type(shape_of(down)[0] // experts, x.context)
        self.build(operands, [target], attributes, **place)

    @property
    def unit(self) -> ExpertUnit:
        """What an expert does between its linears."""
        return ExpertUnit(self.kind, self.gated, self.alpha, self.limit, self.up_shift)

    @property
    def hidden(self) -> int:
        """F, the features between an expert's two linears."""
        return columns_of(self.down)

    @property
    def hidden_encoding(self) -> Encoding | None:
        """How the features between the linears are rounded."""
        if not self.round_hidden:
            return None
        floats = encoding_of(self.down) is None and is_bfloat16(self.down)
        return BF16_ACTIVATION if floats else ACTIVATION

    def check(self) -> None:
        require_activation("x", self.x, may_be_rounded=True)
        require_positive("experts", self.experts)
        found = self.indices.type
        require(is_choice(self.indices), f"needs indices to be tensor<?x_xi32>, found {found}")
        require_activation("weights", self.weights, columns_of(self.indices))
        require_choice("kind", self.kind, tuple(ACTIVATIONS))
        plain = self.alpha == 1.0 or self.kind == "silu"
        require(plain, f"has alpha {self.alpha:g}, which only silu takes")
        self._check_weight("up", self.up, columns_of(self.x))
        self._check_weight("down", self.down, self.hidden)
        found = shape_of(self.up)[0]
        expected = self.experts * self.hidden * (2 if self.gated else 1)
        require(found == expected, f"needs up of {expected} rows as down is {self.down.type}")
        for name, bias, w in (
            ("up_bias", self.up_bias, self.up),
            ("down_bias", self.down_bias, self.down),
        ):
            if bias is not None:
                require_vector(name, bias, shape_of(w)[0])
        both = self.weigh_input and self.up_bias is not None
        require(not both, "cannot weigh the input of experts with an up_bias")
        require_activation("the result", self.out, shape_of(self.down)[0] // self.experts)

    def _check_weight(self, name: str, w: Value, columns: int) -> None:
        require_shape(name, w, [None, columns])
        rows = shape_of(w)[0]
        require(rows != DYNAMIC, f"needs {name} to be a weight, found {w.type}")
        encoding = encoding_of(w)
        require(encoding is None or not encoding.activation, f"needs a weight, found {w.type}")
        fits = rows % self.experts == 0
        require(fits, f"cannot part {name} of {rows} rows into {self.experts} experts")

    def reference(self, *inputs: Datum) -> Tensor:
        x, indices, weights = tensor_of(inputs[0]), tensor_of(inputs[1]), tensor_of(inputs[2])
        biases = list(inputs[5:])
        up_bias = biases.pop(0) if self.up_bias is not None else None
        down_bias = biases.pop(0) if self.down_bias is not None else None
        unit = self.unit

        def between(projected: Tensor) -> Tensor:
            hidden = unit(projected)
            rounding = self.hidden_encoding
            return hidden if rounding is None else tensor_of(round_activations(hidden, rounding))

        linears = (self._linear(inputs[3], up_bias), self._linear(inputs[4], down_bias))
        weighing = self.weigh_input
        return mix_experts(x, indices, weights.to(x.dtype), linears, between, weigh_input=weighing)

    def _linear(self, weight: Datum, bias: Datum | None) -> Linear:
        assert isinstance(weight, QuantTensor | Tensor)
        count = weight.shape[0] // self.experts

        def apply(rows: Tensor, expert: int) -> Tensor:
            own = slice(expert * count, (expert + 1) * count)
            if isinstance(weight, QuantTensor):
                matrix = weight.rows(torch.arange(own.start, own.stop)).dequantize(rows.dtype)
            else:
                matrix = weight[own].to(rows.dtype)
            shift = None if bias is None else tensor_of(bias, rows.dtype)[own]
            return torch.nn.functional.linear(rows, matrix, shift)

        return apply

    def cost(self, tokens: int, context: int = 0) -> Cost:
        """Count only the experts that are read: at most one for each choice of each token."""
        choices = elements_of(self.indices, tokens)
        read = min(choices, self.experts) / self.experts
        matrices = elements_of(self.up, tokens) + elements_of(self.down, tokens)
        present = [self.up, self.down, self.up_bias, self.down_bias]
        weights: Sequence[Value] = [value for value in present if value is not None]
        activations = [self.x, self.indices, self.weights, self.out]
        return Cost(
            2 * choices * matrices / self.experts,
            read * sum(bytes_of(value, tokens) for value in weights)
            + sum(bytes_of(value, tokens) for value in activations),
        )
