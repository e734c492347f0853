"""Architectures that compute attention by code of their own, not through transformers' table.

On a model that is only traced, `adapt_attention` puts the opaque operator into the method that
computes attention.  A row of the table is a class of transformers and what its method computes,
written with the module's own projections.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ingot.errors import UnsupportedError

from .attention import IMPLEMENTATION, attention, refused
from .masks import Sight, sight_of

SLOPES = "position_slopes"
"""The buffer that holds the slopes of a module whose scores are biased by distance."""

CAUSAL, ALL = Sight(causal=True), Sight()


def alibi_slopes(heads: int, steepest: float = 8.0) -> Tensor:
    """Return the slopes `[heads]` of Press, Smith and Lewis (2021), in float32.

    A power of two of heads n has 2^(-s·i/n) for i = 1 … n; any other number takes every second of
    the next power's, then the ones between them.
    """
    power = 1 << (heads - 1).bit_length()
    slopes = torch.pow(2.0, -steepest / power * torch.arange(1, power + 1, dtype=torch.float64))
    if power != heads:
        slopes = torch.cat([slopes[1::2], slopes[::2]])[:heads]
    return slopes.float()


def _attend(
    module: nn.Module, q: Tensor, k: Tensor, v: Tensor, sight: Sight, scale: float
) -> Tensor:
    """Return `[1, T, heads, dim]`; q `[1, heads, T, dim]`, k and v `[1, kv_heads, T, dim]`."""
    slopes = module._buffers.get(SLOPES)
    layer = module.layer_idx
    assert isinstance(layer, int)
    result = attention(
        q, k, v, None, slopes, layer, scale, sight.causal, sight.window, sight.chunk, 0.0
    )
    assert isinstance(result, Tensor)
    return result


def _seen(module: nn.Module, mask: Tensor | None, unmasked: Sight = ALL) -> Sight:
    """Return what a mask says that is added to scores; `unmasked` where there is none."""
    sight = unmasked if mask is None else sight_of(mask)
    if sight is None:
        raise refused(module, "is masked by a tensor that the model computes by itself")
    return sight


def _bloom(
    module: Any,
    hidden_states: Tensor,
    residual: Tensor,
    alibi: Tensor,
    attention_mask: Tensor | None,
    **others: object,
) -> tuple[Tensor, None]:
    q, k, v = module._reshape(module.query_key_value(hidden_states))
    sight = _seen(module, attention_mask)
    attended = _attend(module, q, k, v, sight, module.inv_norm_factor).flatten(2)
    return residual + module.dense(attended), None


def _mpt(
    module: Any,
    hidden_states: Tensor,
    position_bias: Tensor,
    past_key_values: None = None,
    attention_mask: Tensor | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    qkv = module.Wqkv(hidden_states)
    if module.clip_qkv:
        qkv = qkv.clamp(min=-module.clip_qkv, max=module.clip_qkv)
    shape = (*hidden_states.shape[:2], module.n_heads, module.head_dim)
    q, k, v = (part.reshape(shape).transpose(1, 2) for part in qkv.chunk(3, dim=2))
    sight = _seen(module, attention_mask)
    attended = _attend(module, q, k, v, sight, float(module.softmax_scale)).flatten(2)
    return module.out_proj(attended), None


def _falcon(
    module: Any,
    hidden_states: Tensor,
    alibi: Tensor | None,
    attention_mask: Tensor | None,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    if alibi is not None:
        raise UnsupportedError(
            "Falcon's biases by distance are rounded to bfloat16, which is not known here",
            hint="Give a Falcon with rotary positions.",
        )
    from transformers.models.falcon.modeling_falcon import apply_rotary_pos_emb

    fused = module.query_key_value(hidden_states)
    groups = module.num_kv_heads
    if not module.new_decoder_architecture and not module.multi_query:
        groups = module.num_heads
    each = module.num_heads // groups
    fused = fused.view(*fused.shape[:2], groups, each + 2, module.head_dim)
    parts = (fused[:, :, :, :each], fused[:, :, :, each : each + 1], fused[:, :, :, each + 1 :])
    q, k, v = (part.flatten(2, 3).transpose(1, 2) for part in parts)
    assert position_embeddings is not None
    rotate: Callable[..., tuple[Tensor, Tensor]] = apply_rotary_pos_emb
    q, k = rotate(q, k, *position_embeddings)
    sight = _seen(module, attention_mask)
    attended = _attend(module, q, k, v, sight, module.inv_norm_factor).flatten(2)
    return module.dense(attended), None


def _scaled(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
) -> tuple[Tensor, None]:
    """`_attn` with heads first on both sides, scores divided by the root of the head size."""
    sight = _seen(module, attention_mask)
    scale = float(query.shape[-1] ** -0.5)
    return _attend(module, query, key, value, sight, scale).transpose(1, 2), None


def _gpt_neo(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
) -> tuple[Tensor, None]:
    window = module.config.window_size if module.attention_type == "local" else 0
    if _seen(module, attention_mask, CAUSAL) != CAUSAL:
        raise refused(module, "has a mask beside its own")
    sight = Sight(causal=True, window=window)
    return _attend(module, query, key, value, sight, 1.0).transpose(1, 2), None


def _openai(
    module: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attention_mask: Tensor | None = None,
    output_attentions: bool = False,
) -> list[Tensor]:
    scale = float(v.shape[-1] ** -0.5) if module.scale else 1.0
    k = k.transpose(2, 3)
    sight = _seen(module, attention_mask, CAUSAL)
    return [_attend(module, q, k, v, sight, scale).transpose(1, 2)]


def _bert(
    module: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    sinusoidal_pos: Tensor | None = None,
    encoder_hidden_states: Tensor | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """The self-attention of BERT's relatives, RoFormer's with its rotation."""
    if encoder_hidden_states is not None:
        raise refused(module, "looks at another sequence")
    shape = (*hidden_states.shape[:2], -1, module.attention_head_size)
    projections = (module.query, module.key, module.value)
    q, k, v = (project(hidden_states).view(shape).transpose(1, 2) for project in projections)
    if sinusoidal_pos is not None:
        rotated = (q, k, v) if module.rotary_value else (q, k)
        q, k, *rest = module.apply_rotary_position_embeddings(sinusoidal_pos, *rotated)
        v = rest[0] if rest else v
    scale = float(module.attention_head_size**-0.5)
    return _attend(module, q, k, v, _seen(module, attention_mask), scale).flatten(2), None


def _bart(
    module: Any,
    hidden_states: Tensor,
    key_value_states: Tensor | None = None,
    past_key_values: None = None,
    attention_mask: Tensor | None = None,
    attn_prompt: Tensor | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """The self-attention of BART's relatives."""
    if key_value_states is not None or attn_prompt is not None:
        raise refused(module, "looks at another sequence")
    shape = (*hidden_states.shape[:2], module.num_heads, module.head_dim)
    projections = (module.q_proj, module.k_proj, module.v_proj)
    q, k, v = (project(hidden_states).view(shape).transpose(1, 2) for project in projections)
    attended = _attend(module, q, k, v, _seen(module, attention_mask), float(module.scaling))
    return module.out_proj(attended.flatten(2)), None


@dataclass(frozen=True)
class _Own:
    """The method that computes attention, what computes the same, and the slopes, if it has any."""

    method: str
    replacement: Callable[..., Any]
    slopes: Callable[[Any], Tensor] | None = None


_OWN: Mapping[str, _Own] = {
    "bloom.modeling_bloom.BloomAttention": _Own(
        "forward", _bloom, lambda module: alibi_slopes(module.num_heads)
    ),
    "mpt.modeling_mpt.MptAttention": _Own(
        "forward", _mpt, lambda module: alibi_slopes(module.n_heads)
    ),
    "falcon.modeling_falcon.FalconAttention": _Own("forward", _falcon),
    "gptj.modeling_gptj.GPTJAttention": _Own("_attn", _scaled),
    "codegen.modeling_codegen.CodeGenAttention": _Own("_attn", _scaled),
    "gpt_neox_japanese.modeling_gpt_neox_japanese.GPTNeoXJapaneseAttention": _Own("_attn", _scaled),
    "gpt_neo.modeling_gpt_neo.GPTNeoSelfAttention": _Own("_attn", _gpt_neo),
    "openai.modeling_openai.Attention": _Own("_attn", _openai),
    "megatron_bert.modeling_megatron_bert.MegatronBertSelfAttention": _Own("forward", _bert),
    "rembert.modeling_rembert.RemBertSelfAttention": _Own("forward", _bert),
    "roformer.modeling_roformer.RoFormerSelfAttention": _Own("forward", _bert),
    "xglm.modeling_xglm.XGLMAttention": _Own("forward", _bart),
    "trocr.modeling_trocr.TrOCRAttention": _Own("forward", _bart),
    "mvp.modeling_mvp.MvpAttention": _Own("forward", _bart),
}
"""By the class's name within `transformers.models`."""


def adapt_attention(model: PreTrainedModel) -> None:
    """Let modules with attention code of their own call the opaque operator.

    `model` is on the meta device and is changed: it can be traced afterwards, not run.
    """
    owners = [(m, own) for m in model.modules() if (own := _OWN.get(_name_of(m))) is not None]
    for layer, (module, own) in enumerate(owners):
        if not isinstance(getattr(module, "layer_idx", None), int):
            setattr(module, "layer_idx", layer)  # noqa: B010 - no parameter, no module
        setattr(module, own.method, MethodType(own.replacement, module))
        if own.slopes is not None:
            slopes = own.slopes(module)
            buffer = slopes.to("meta")
            buffer.ingot_value = slopes.clone  # type: ignore[attr-defined]
            module.register_buffer(SLOPES, buffer, persistent=False)


def _name_of(module: nn.Module) -> str:
    kind = type(module)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("transformers.models.")


def allow_own_classes(config: PretrainedConfig) -> None:
    """Let the tables of attention classes that some architectures have build the eager one."""
    place = type(config).__module__.replace(".configuration_", ".modeling_")
    try:
        modeling = importlib.import_module(place)
    except ImportError:
        return
    for name, table in vars(modeling).items():
        if name.endswith("_ATTENTION_CLASSES") and "eager" in table:
            table.setdefault(IMPLEMENTATION, table["eager"])
