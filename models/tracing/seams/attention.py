"""The opaque operator in place of attention: the exporter keeps it as one node.

transformers asks a table for the function that computes attention; importing this module puts ours,
`IMPLEMENTATION`, into it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import AttentionInterface

from ingot.errors import UnsupportedError

from . import masks
from .masks import Sight, sight_of

IMPLEMENTATION = "ingot"
UNNUMBERED = -1
"""The layer of a module that does not know its number: the trace numbers all of them then."""
HARMLESS = frozenset({"position_ids", "cache_position", "dropout"})


@torch.library.custom_op("ingot::attention", mutates_args=())
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sinks: Tensor | None,
    slopes: Tensor | None,
    layer: int,
    scale: float,
    causal: bool,
    window: int,
    chunk: int,
    softcap: float,
) -> Tensor:
    """Attention of `layer` over its cache: q `[1, heads, T, dim]` → `[1, T, heads, value dim]`.

    k is `[1, kv_heads, T, dim]`, v `[1, kv_heads, T, value dim]`, `sinks` and `slopes` `[heads]`.
    `window` 0, `chunk` 0 and `softcap` 0.0 are none.  `lm.attention` says what the numbers mean.
    """
    raise AssertionError("an opaque operator is only traced")


@attention.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sinks: Tensor | None,
    slopes: Tensor | None,
    layer: int,
    scale: float,
    causal: bool,
    window: int,
    chunk: int,
    softcap: float,
) -> Tensor:
    return q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[3])


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
    if unknown := told - HARMLESS:
        raise refused(module, f"takes {', '.join(sorted(unknown))}, which is not known here")
    sight = _sight(module, attention_mask, sliding_window, is_causal)
    result = attention(
        query,
        key,
        value,
        s_aux,
        None,
        _layer_of(module),
        float(query.shape[-1] ** -0.5 if scaling is None else scaling),
        sight.causal,
        sight.window,
        sight.chunk,
        float(softcap or 0.0),
    )
    return result, None


def _sight(
    module: nn.Module,
    attention_mask: Tensor | None,
    sliding_window: int | None,
    is_causal: bool | None,
) -> Sight:
    """Return which tokens a token sees: what the mask says, as in transformers' own functions.

    Without a mask those go by `is_causal` alone.
    """
    if attention_mask is not None:
        sight = sight_of(attention_mask)
        if sight is None:
            raise refused(module, "is masked by a tensor that the model computes by itself")
        return sight
    if sliding_window is not None:
        raise refused(module, "has a sliding window, but the model makes no mask for it")
    return Sight(
        causal=bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    )


def _layer_of(module: nn.Module) -> int:
    layer = getattr(module, "layer_idx", None)
    return layer if isinstance(layer, int) else UNNUMBERED


def refused(module: nn.Module, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"the attention of {type(module).__name__} {what}",
        hint="Give a model whose attention is causal, with or without a sliding window.",
    )


AttentionInterface.register(IMPLEMENTATION, _attention_function)
masks.register(IMPLEMENTATION)
