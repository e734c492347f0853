"""A layer of experts on plain tensors: what `lm.experts` and the traced operator compute."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ingot.ir.functions import ACTIVATIONS

Linear = Callable[[Tensor, int], Tensor]
"""Rows and the number of an expert → the rows after one of its linears."""


@dataclass(frozen=True)
class ExpertUnit:
    """What an expert does between its two linears.

    Gated: `kind(gate) * (up + up_shift)`, gate the first half of the features; else `kind` of all.
    `alpha` makes silu `gate * sigmoid(alpha * gate)`; `limit`, if not 0, first clamps gate from
    above and up on both sides (GPT-OSS's model card, section 2.1, has all three).
    """

    kind: str = "silu"
    gated: bool = True
    alpha: float = 1.0
    limit: float = 0.0
    up_shift: float = 0.0

    def __call__(self, projected: Tensor) -> Tensor:
        """Return `[rows, F]` for projected `[rows, 2 F]` (`[rows, F]` if not gated)."""
        if not self.gated:
            return self._activate(projected)
        gate, up = projected.chunk(2, dim=-1)
        if self.limit:
            gate, up = gate.clamp(max=self.limit), up.clamp(-self.limit, self.limit)
        return self._activate(gate) * (up + self.up_shift)

    def _activate(self, gate: Tensor) -> Tensor:
        if self.alpha != 1.0:
            assert self.kind == "silu", f"{self.kind} has no alpha"
            return gate * torch.sigmoid(self.alpha * gate)
        return ACTIVATIONS[self.kind](gate)


def mix_experts(
    x: Tensor,
    indices: Tensor,
    weights: Tensor,
    linears: tuple[Linear, Linear],
    unit: Callable[[Tensor], Tensor],
    *,
    weigh_input: bool = False,
) -> Tensor:
    """Return for each row of x `[T, H]` the weighted sum of its experts' results, `[T, H]`.

    `indices` and `weights` are `[T, k]`; the sum is in the order of the k choices.  `weigh_input`
    weighs what goes into an expert, which is the same as what leaves its first linear, instead of
    its result.
    """
    first, second = linears
    outputs: Tensor | None = None
    for expert in torch.unique(indices).tolist():
        tokens, choices = torch.where(indices == expert)
        factors = weights[tokens, choices, None]
        projected = first(x[tokens], expert)
        result = second(unit(projected * factors if weigh_input else projected), expert)
        if outputs is None:
            outputs = result.new_zeros(*indices.shape, result.shape[-1])
        outputs[tokens, choices] = result if weigh_input else result * factors
    assert outputs is not None, "a step has tokens"
    total = outputs[:, 0]
    for choice in range(1, outputs.shape[1]):
        total = total + outputs[:, choice]
    return total


def traced_experts(
    hidden: Tensor,
    routing: tuple[Tensor, Tensor],
    matrices: tuple[Tensor, Tensor],
    biases: tuple[Tensor | None, Tensor | None],
    layout: tuple[bool, bool, bool],
    unit: ExpertUnit,
) -> Tensor:
    """Compute `ingot::experts`, whose matrices are `[E, N, K]`.

    `layout`: whether they are `[E, K, N]`, whether rows of gate and up alternate, whether the
    weights multiply the input.
    """
    transposed, interleaved, weigh_input = layout

    def between(projected: Tensor) -> Tensor:
        if interleaved:
            projected = torch.cat([projected[..., ::2], projected[..., 1::2]], dim=-1)
        return unit(projected)

    def linear(matrix: Tensor, bias: Tensor | None) -> Linear:
        def apply(rows: Tensor, expert: int) -> Tensor:
            own = matrix[expert].t() if transposed else matrix[expert]
            shift = None if bias is None else bias[expert]
            return torch.nn.functional.linear(rows, own, shift)

        return apply

    up, down = (linear(m, b) for m, b in zip(matrices, biases, strict=True))
    indices, weights = routing
    return mix_experts(hidden, indices, weights, (up, down), between, weigh_input=weigh_input)
