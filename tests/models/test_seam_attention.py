"""What the trace says of each layer's attention: who sees whom is read off the model's own mask."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from transformers import masking_utils
from transformers.models.llama import modeling_llama

from ingot.errors import UnsupportedError
from ingot.models.architecture import config_from_fields
from ingot.models.tracing.seams.own_attention import alibi_slopes
from ingot.models.tracing.trace import trace

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def attentions(model_type: str, **more: object) -> list[Mapping[str, Any]]:
    """Return the arguments of each layer's attention by name."""
    fields = {**SIZES, "model_type": model_type, **more}
    fields = {name: value for name, value in fields.items() if value is not None}
    graph = trace(config_from_fields(fields, where="test")).graph
    operator = torch.ops.ingot.attention.default
    names = [argument.name for argument in operator._schema.arguments]
    return [
        dict(zip(names, node.args, strict=True)) for node in graph.nodes if node.target is operator
    ]


def test_windows_alternate_as_the_config_says() -> None:
    kinds = ["sliding_attention", "full_attention"] * 2
    found = attentions("gemma2", sliding_window=12, layer_types=kinds, num_hidden_layers=4)
    assert [one["window"] for one in found] == [12, 0, 12, 0]
    assert {one["softcap"] for one in found} == {50.0}
    assert all(one["causal"] for one in found)


def test_sinks_are_the_layer_s_own() -> None:
    [found] = attentions("gpt_oss", num_local_experts=4, sliding_window=12)
    assert found["sinks"].meta["val"].shape == (4,)


def test_a_config_can_ask_for_sight_of_all_tokens() -> None:
    assert [one["causal"] for one in attentions("llama", is_causal=False)] == [False]


def test_masks_are_recognised_by_what_they_were_composed_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunks: no small model of the kind can be traced, so a Llama is given their mask."""
    chunked = masking_utils.create_chunked_causal_mask
    monkeypatch.setattr(modeling_llama, "create_causal_mask", chunked)
    found = attentions("llama", attention_chunk_size=6)
    assert {(one["causal"], one["window"], one["chunk"]) for one in found} == {(True, 0, 6)}


def test_a_window_on_both_sides_includes_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def both_sides(**options: Any) -> torch.Tensor:
        options.pop("position_ids")
        return masking_utils.create_bidirectional_sliding_window_mask(**options)

    monkeypatch.setattr(modeling_llama, "create_causal_mask", both_sides)
    found = attentions("llama", sliding_window=6)
    assert {(one["causal"], one["window"]) for one in found} == {(False, 7)}


def test_an_unknown_mask_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def beside(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return query % 2 == key % 2

    def with_other(**options: Any) -> torch.Tensor:
        return masking_utils.create_causal_mask(**options, and_mask_function=beside)

    monkeypatch.setattr(modeling_llama, "create_causal_mask", with_other)
    with pytest.raises(UnsupportedError, match=r"causal_mask_function with .*beside"):
        attentions("llama")


def test_a_mask_that_the_model_changes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(**options: Any) -> torch.Tensor:
        return masking_utils.create_causal_mask(**options) * 2

    monkeypatch.setattr(modeling_llama, "create_causal_mask", changed)
    with pytest.raises(UnsupportedError, match="LlamaAttention is masked by a tensor"):
        attentions("llama")


@pytest.mark.parametrize(
    ("model_type", "sizes", "scale"),
    [
        ("bloom", {}, 8**-0.5),
        ("mpt", {"d_model": 48, "n_heads": 6, "n_layers": 1}, 8**-0.5),
        ("falcon", {"alibi": False, "head_dim": None}, 8**-0.5),
        ("gptj", {"rotary_dim": 4, "head_dim": None}, 8**-0.5),
        ("openai-gpt", {}, 8**-0.5),
    ],
)
def test_attention_code_of_an_architecture_s_own_is_replaced(
    model_type: str, sizes: dict[str, Any], scale: float
) -> None:
    [found] = attentions(model_type, **sizes)
    assert (found["causal"], found["window"], found["scale"]) == (True, 0, pytest.approx(scale))
    assert (found["slopes"] is not None) == (model_type in ("bloom", "mpt"))


def test_slopes_are_those_that_the_architecture_computes() -> None:
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

    for heads in (1, 4, 6, 7, 16, 71):
        found = alibi_slopes(heads)
        bloom = build_alibi_tensor(torch.ones(1, 2), heads, torch.float32)
        mpt = build_mpt_alibi_tensor(heads, 2)
        torch.testing.assert_close(found, bloom[:, 0, 1])
        torch.testing.assert_close(found, -mpt[:, 0, 0])


def test_biases_that_are_rounded_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="Falcon's biases by distance are rounded"):
        attentions("falcon", alibi=True, head_dim=None)


def test_local_layers_see_a_window() -> None:
    found = attentions(
        "gpt_neo",
        num_hidden_layers=2,
        attention_types=[[["global", "local"], 1]],
        window_size=12,
    )
    assert [(one["window"], one["scale"]) for one in found] == [(0, 1.0), (12, 1.0)]
