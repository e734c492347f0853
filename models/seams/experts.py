"""The opaque operator in place of a layer of experts: the exporter keeps it as one node.

transformers asks a table for the function that computes a layer of experts; importing this module
puts ours, `IMPLEMENTATION`, into it.
"""

import torch
from torch import Tensor, nn
from transformers.integrations.moe import ExpertsInterface

IMPLEMENTATION = "ingot"


@torch.library.custom_op("ingot::experts", mutates_args=())
def experts(
    hidden: Tensor, indices: Tensor, routing: Tensor, parameters: list[Tensor], kind: str
) -> Tensor:
    """A layer of experts: hidden `[T, hidden]` → the same, weighted by routing `[T, k]`.

    `indices` `[T, k]` are the experts chosen; `parameters` are those of the module, in its order,
    each with the experts as first dimension; `kind` is the qualified name of its class.
    """
    raise AssertionError("an opaque operator is only traced")


@experts.register_fake
def _(
    hidden: Tensor, indices: Tensor, routing: Tensor, parameters: list[Tensor], kind: str
) -> Tensor:
    return torch.empty_like(hidden)


def _experts_function(
    module: nn.Module, hidden: Tensor, indices: Tensor, routing: Tensor
) -> Tensor:
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    result = experts(hidden, indices, routing, list(module.parameters()), kind)
    assert isinstance(result, Tensor)
    return result


ExpertsInterface.register(IMPLEMENTATION, _experts_function)
