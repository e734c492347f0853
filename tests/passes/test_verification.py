"""A pass that breaks its contract is stopped, and the operation and its place are named."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from ingot.errors import VerificationError
from ingot.ir import Attention, Linear, Module, Op, RmsNorm, Rope, Slice, before, sources_of
from ingot.passes import (
    EXACT,
    Check,
    Contract,
    Pass,
    Sample,
    compare,
    first_divergence,
    lossy,
    parse_pipeline,
    random_sample,
    record,
    replace,
    verify_pass,
    verifying,
)

from .conftest import Model

Models = Callable[[str], Model]
LAYER = "model.layers.1."


def ops_in(module: Module, kind: type[Op], place: str) -> list[Any]:
    """The operations of a kind that come from a module of the model."""
    operations: list[Any] = list(module.step.entry_block.operations)
    return [
        op
        for op in operations
        if isinstance(op, kind) and sources_of(op.location)[0].module == place
    ]


@dataclass(frozen=True)
class Wrong(Pass):
    """Does what `damage` says, and promises to change nothing."""

    contract: ClassVar[Contract] = EXACT
    damage: str = ""

    def run(self, module: Module) -> None:
        DAMAGES[self.damage](module)


def larger_eps(module: Module) -> None:
    (op,) = ops_in(module, RmsNorm, LAYER + "post_attention_layernorm")
    with before(op):
        replace(op, RmsNorm(op.x, op.w, eps=0.5).out)


def no_rotation(module: Module) -> None:
    query, _ = ops_in(module, Rope, LAYER + "self_attn")
    replace(query, query.x)


def swapped_slices(module: Module) -> None:
    parse_pipeline("merge-linears").run(module)
    (key,) = ops_in(module, Slice, LAYER + "self_attn.k_proj")
    (value,) = ops_in(module, Slice, LAYER + "self_attn.v_proj")
    with before(key), key.location:
        replace(key, Slice(key.x, offset=value.offset, size=key.size).out)


def short_window(module: Module) -> None:
    """A window that no sequence of the first step fills."""
    (op,) = ops_in(module, Attention, LAYER + "self_attn")
    fields = {"layer": 1, "heads": op.heads, "kv_heads": op.kv_heads, "head_dim": op.head_dim}
    with before(op):
        replace(op, Attention(op.q, op.k, op.v, op.batch, **fields, scale=op.scale, window=8).out)


def wrong_projection(module: Module) -> None:
    (up,) = ops_in(module, Linear, LAYER + "mlp.up_proj")
    (gate,) = ops_in(module, Linear, LAYER + "mlp.gate_proj")
    with before(up):
        replace(up, Linear(up.x, gate.w).out)


DAMAGES: dict[str, Callable[[Module], None]] = {
    "larger-eps": larger_eps,
    "no-rotation": no_rotation,
    "swapped-slices": swapped_slices,
    "short-window": short_window,
    "wrong-projection": wrong_projection,
}
CULPRITS = {
    "larger-eps": ("lm.rms_norm", "post_attention_layernorm"),
    "no-rotation": ("lm.attention", "self_attn"),
    "swapped-slices": ("lm.slice", "self_attn.k_proj"),
    "short-window": ("lm.attention", "self_attn"),
    "wrong-projection": ("lm.linear", "mlp.up_proj"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_operation_is_named_with_its_place(models: Models, damage: str) -> None:
    model = models("llama")
    module = model.module("raise")
    with pytest.raises(VerificationError) as caught:
        verify_pass(Wrong(damage), module, model.weights, random_sample(97))
    operation, place = CULPRITS[damage]
    said = str(caught.value)
    assert f"first operation that departs: {operation}, {LAYER}{place} (transformers/" in said
    assert "modeling_llama.py:" in said and "allows 1e-09" in said


def test_a_single_new_sequence_cannot_show_a_wrong_window(models: Models) -> None:
    """So samples carry a second step over what is cached."""
    model = models("llama")
    step = Sample(torch.arange(7), (0, 7))
    verify_pass(Wrong("short-window"), model.module("raise"), model.weights, step)


def test_a_callback_notes_every_check_and_stops(models: Models) -> None:
    model = models("llama")
    checks: list[Check] = []
    callback = verifying(model.weights, random_sample(97), checks.append)
    module = model.module()
    parse_pipeline("raise,canonicalize").run(module, callback)
    assert [check.step for check in checks] == ["raise", "canonicalize"]
    assert all(check.passed for check in checks)
    wrong = Wrong("larger-eps")
    callback(wrong, module, "before")
    wrong.run(module)
    with pytest.raises(VerificationError, match="larger-eps"):
        callback(wrong, module, "after")
    assert not checks[-1].passed and checks[-1].error > 1e-3


def test_torch_and_lm_have_their_values_at_the_same_places(models: Models) -> None:
    model, sample = models("llama"), random_sample(97)
    before_, after = model.module(), model.module("raise")
    reference, found = (record(m, model.weights, sample).values for m in (before_, after))
    differences = compare(reference, found, sample, tolerance=1e-9)
    assert len(differences) == len(found) > 30, "every value of lm has a counterpart in torch"
    assert max(one.error for one in differences) < 1e-12
    assert first_divergence(differences, 1e-9) is None or max(d.added for d in differences) < 1e-12


def test_where_errors_add_up_the_largest_is_named(models: Models) -> None:
    """A lossy pass within its budget everywhere: the operation that adds the most is looked at."""
    model, sample = models("llama"), random_sample(97)
    plain = model.module("raise")
    coarse = plain.clone()
    text = f"quantize{{linear=none,embedding=none,overrides={LAYER}mlp.down_proj.weight=int4-g128}}"
    parse_pipeline(text).run(coarse)
    reference, found = (record(m, model.weights, sample).values for m in (plain, coarse))
    budget = lossy("rms", 0.5)
    differences = compare(reference, found, sample, metric="rms", tolerance=budget.tolerance)
    culprit = first_divergence(differences, budget.tolerance)
    assert culprit is not None
    assert (culprit.found.operation, culprit.found.place.module) == (
        "lm.linear",
        LAYER + "mlp.down_proj",
    )
    assert 0.01 < culprit.error < 0.5 and culprit.inherited == 0.0


def test_the_second_step_goes_on_from_the_first() -> None:
    sample = random_sample(50, (7, 1, 5))
    first, second = sample.steps
    assert first.positions.tolist() == [*range(7), 0, *range(5)]
    assert second.starts == (0, 1, 3, 6, 8)
    assert second.positions.tolist() == [7, 1, 2, 5, 6, 7, 0, 1]
    assert second.rows == (0, 2, 5, 7)
    assert second.wanted(torch.arange(8)).tolist() == [0, 2, 5, 7]
