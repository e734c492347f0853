"""Opaque operators in place of attention and experts: the exporter keeps each as one node.

transformers asks a table for the function that computes attention or a layer of experts; importing
this module puts one of ours, `IMPLEMENTATION`, into both tables.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.integrations.moe import ExpertsInterface
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from ingot.errors import UnsupportedError

IMPLEMENTATION = "ingot"
HARMLESS = frozenset({"position_ids", "cache_position", "dropout"})


@torch.library.custom_op("ingot::attention", mutates_args=())
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sinks: Tensor | None,
    layer: int,
    scale: float,
    causal: bool,
    window: int,
    softcap: float,
) -> Tensor:
    """Attention of `layer` over its cache: q `[1, heads, T, dim]` → `[1, T, heads, dim]`.

    k and v are `[1, kv_heads, T, dim]`.  `window` 0 is none, `softcap` 0.0 is none.
    """
    raise AssertionError("an opaque operator is only traced")


@attention.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sinks: Tensor | None,
    layer: int,
    scale: float,
    causal: bool,
    window: int,
    softcap: float,
) -> Tensor:
    return q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[3])


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


def use_seams(config: PretrainedConfig) -> None:
    """Make models that are built from `config` call the opaque operators."""
    config._attn_implementation = IMPLEMENTATION
    config._experts_implementation = IMPLEMENTATION


def _attention_function(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    # A tensor or a number that is not known here would change the result; switches do not.
    told = {name for name, value in others.items() if isinstance(value, Tensor | float)}
    unknown = told - HARMLESS
    if unknown or attention_mask is not None:
        raise UnsupportedError(
            f"the attention of {type(module).__name__} takes "
            f"{', '.join(sorted(unknown)) or 'a mask of its own'}, which is not known here",
            hint="Give a model whose attention is causal, with or without a sliding window.",
        )
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    layer = module.layer_idx
    assert isinstance(layer, int)
    result = attention(
        query,
        key,
        value,
        s_aux,
        layer,
        float(query.shape[-1] ** -0.5 if scaling is None else scaling),
        bool(causal),
        int(sliding_window or 0),
        float(softcap or 0.0),
    )
    return result, None


def _experts_function(
    module: nn.Module, hidden: Tensor, indices: Tensor, routing: Tensor
) -> Tensor:
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    result = experts(hidden, indices, routing, list(module.parameters()), kind)
    assert isinstance(result, Tensor)
    return result


def _no_mask(*arguments: object, **options: object) -> None:
    """The mask of the opaque attention: it is causal by itself."""


AttentionInterface.register(IMPLEMENTATION, _attention_function)
AttentionMaskInterface.register(IMPLEMENTATION, _no_mask)
ExpertsInterface.register(IMPLEMENTATION, _experts_function)
