"""Architectures that compute experts by code of their own, not through transformers' table.

On a model that is only traced, `adapt_experts` puts the opaque operator into the method that
computes a layer of experts.  A row of the table is a class of transformers and what its method
computes, written with the module's own parameters.
"""

from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .expert_unit import unit_of
from .experts import call_experts


def _llama4(module: Any, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
    """Sigmoid scores of the best weigh what goes into the experts."""
    rows = hidden_states.reshape(-1, module.hidden_dim)
    router, experts = module.router, module.experts
    logits = torch.nn.functional.linear(rows, router.weight)
    best, indices = torch.topk(logits, router.top_k, dim=1)
    mixed = call_experts(
        rows,
        (indices, torch.sigmoid(best)),
        (experts.gate_up_proj, experts.down_proj),
        unit_of(experts),
        transposed=True,
        weigh_input=True,
    )
    return module.shared_expert(rows) + mixed, logits


OWN: Mapping[str, Callable[..., Any]] = {
    "llama4.modeling_llama4.Llama4TextMoe": _llama4,
}
"""What a class's `forward` computes, by the class's name within `transformers.models`."""


def adapt_experts(model: PreTrainedModel) -> None:
    """Let the modules of `model` that are in the table compute their experts by the operator."""
    for module in model.modules():
        kind = type(module)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("transformers.models.")
        function = OWN.get(name)
        if function is not None:
            module.forward = MethodType(function, module)
