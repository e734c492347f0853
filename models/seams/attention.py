"""The opaque operator in place of attention: the exporter keeps it as one node.

transformers asks a table for the function that computes attention; importing this module puts ours,
`IMPLEMENTATION`, into it.
"""

from typing import Any

import torch
from torch import Tensor, nn
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


def _no_mask(*arguments: object, **options: object) -> None:
    """The mask of the opaque attention: it is causal by itself."""


AttentionInterface.register(IMPLEMENTATION, _attention_function)
AttentionMaskInterface.register(IMPLEMENTATION, _no_mask)
