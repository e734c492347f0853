"""The opaque operator in place of a layer of experts: the exporter keeps it as one node.

transformers asks a table for the function that computes a layer of experts; importing this module
puts ours, `IMPLEMENTATION`, into it.
"""

from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.moe import ExpertsInterface

from ingot.errors import UnsupportedError
from ingot.ir import ExpertUnit

from .expert_unit import unit_of

IMPLEMENTATION = "ingot"


@torch.library.custom_op("ingot::experts", mutates_args=())
def experts(
    hidden: Tensor,
    indices: Tensor,
    routing: Tensor,
    up: Tensor,
    down: Tensor,
    up_bias: Tensor | None,
    down_bias: Tensor | None,
    transposed: bool,
    interleaved: bool,
    weigh_input: bool,
    kind: str,
    gated: bool,
    alpha: float,
    limit: float,
    up_shift: float,
) -> Tensor:
    """A layer of experts: hidden `[T, H]` → the same, weighted by routing `[T, k]`.

    `indices` `[T, k]` are the experts chosen.  `up` is `[E, U, H]` and `down` `[E, H, F]`, or each
    with the last two exchanged if `transposed`; rows of gate and up alternate if `interleaved`.
    The rest is as in `lm.experts`.
    """
    raise AssertionError("an opaque operator is only traced")


@experts.register_fake
def _(
    hidden: Tensor,
    indices: Tensor,
    routing: Tensor,
    up: Tensor,
    down: Tensor,
    up_bias: Tensor | None,
    down_bias: Tensor | None,
    transposed: bool,
    interleaved: bool,
    weigh_input: bool,
    kind: str,
    gated: bool,
    alpha: float,
    limit: float,
    up_shift: float,
) -> Tensor:
    return torch.empty_like(hidden)


def call_experts(
    hidden: Tensor,
    routing: tuple[Tensor, Tensor],
    matrices: tuple[Tensor, Tensor],
    unit: ExpertUnit,
    *,
    biases: tuple[Tensor | None, Tensor | None] = (None, None),
    transposed: bool = False,
    interleaved: bool = False,
    weigh_input: bool = False,
) -> Tensor:
    """Call the operator; `routing` are indices and weights, `matrices` and `biases` up and down."""
    layout = (transposed, interleaved, weigh_input)
    result = experts(hidden, *routing, *matrices, *biases, *layout, *astuple(unit))
    assert isinstance(result, Tensor)
    return result


def _experts_function(module: Any, hidden: Tensor, indices: Tensor, routing: Tensor) -> Tensor:
    if module.has_post_expert_norm:
        raise UnsupportedError(
            f"{type(module).__name__} normalises the result of each expert",
            hint="Give a model whose experts are two linears.",
        )
    name = "gate_up_proj" if module.has_gate else "up_proj"
    matrices = (getattr(module, name), module.down_proj)
    biases: tuple[Tensor | None, Tensor | None] = (None, None)
    if module.has_bias:
        biases = (getattr(module, f"{name}_bias"), module.down_proj_bias)
    return call_experts(
        hidden,
        (indices, routing),
        matrices,
        unit_of(module),
        biases=biases,
        transposed=bool(module.is_transposed),
        interleaved=not module.is_concatenated,
    )


ExpertsInterface.register(IMPLEMENTATION, _experts_function)
