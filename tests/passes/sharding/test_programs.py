"""Sharded modules compute what the unsharded ones do: every form of decoder on every mesh."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from ingot.ir import (
    Add,
    AllGather,
    Attention,
    Embedding,
    Linear,
    Shard,
    Value,
    Weight,
    build_module,
    float_tensor,
    weight_symbols,
)
from ingot.passes import Sample, find_ops, parse_pipeline, random_sample, random_weights

from .conftest import Reference, Sharded
from .models import FORMS, LLAMA, decoder

MESHES = (
    "dp2",
    "tp2",
    "tp4",
    "tp8",
    "dp2xtp4",
    "pp2",
    "cp2",
    "mesh=tp2,sequence=true",
    "pp2xtp2",
    "cp2xtp2",
    "mesh=pp2xtp2,sequence=true",
)
EXPERT_MESHES = ("ep4", "tp2xep4", "dp2xep2", "mesh=ep2xtp2,sequence=true", "pp2xep2xcp2")
THOROUGH = ("llama", "mixtral")
"""Forms that run on every mesh; the others on those that divide most at once."""
ENCODED = ("wide", "wide-moe")
"""Forms for the tests of encodings."""
SOME = ("tp4", "mesh=pp2xtp2,sequence=true", "cp2xtp2")

ALL_AXES = (
    ("mixtral", "mesh=cp2xtp2xep2xpp2,sequence=true"),
    ("gemma2", "mesh=dp2xpp2xtp2xcp2,sequence=true"),
    ("gpt-oss", "cp4xtp2"),
)


def _meshes(form: str) -> tuple[str, ...]:
    experts = FORMS[form].experts > 0
    if form in THOROUGH:
        return (*MESHES, *(EXPERT_MESHES if experts else ()))
    return (*SOME, "tp2xep2") if experts else SOME


@pytest.mark.parametrize(
    ("form", "mesh"),
    [
        *ALL_AXES,
        *((form, mesh) for form in FORMS if form not in ENCODED for mesh in _meshes(form)),
    ],
)
def test_a_program_computes_what_the_module_does(
    form: str, mesh: str, reference: Callable[[str], Reference], sharded: Sharded
) -> None:
    known = reference(form)
    found, expected = known.sample.logits(sharded(form, mesh), known.weights), known.logits
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize("mesh", ["dp2xtp2", "mesh=pp2xtp2,sequence=true"])
def test_texts_are_pooled_on_a_mesh(mesh: str, sharded: Sharded) -> None:
    module = decoder(replace(LLAMA, pooling="mean"))
    weights = random_weights(module)
    tokens = torch.randint(96, (20,), generator=torch.Generator().manual_seed(5))
    sample = Sample(tokens, (0, 7, 8, 20))
    expected = sample.logits(module, weights)
    found = sample.logits(sharded(module, mesh), weights)
    assert found.shape == (3, 32)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize("mesh", ["tp4", "mesh=pp2xtp2,sequence=true"])
def test_a_vocabulary_that_does_not_divide_is_whole_everywhere(mesh: str, sharded: Sharded) -> None:
    module = decoder(replace(LLAMA, vocabulary=97))
    weights = random_weights(module)
    sample = random_sample(97)
    expected = sample.logits(module, weights)
    found = sample.logits(sharded(module, mesh), weights)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize("mesh", ["tp2", "mesh=pp2xtp2,sequence=true"])
def test_devices_may_send_each_other_fewer_bits(mesh: str, sharded: Sharded) -> None:
    module = sharded("llama", mesh)
    weights, sample = random_weights(module), random_sample(96)
    expected = sample.logits(module, weights)
    parse_pipeline("narrow-exchanges").run(module)
    kinds = {op.dim: op.dtype for op in find_ops(module, AllGather)}
    assert all(kind == "float32" for dim, kind in kinds.items() if dim == 1)
    assert all(kind == "bfloat16" for dim, kind in kinds.items() if dim == 0)
    error = (sample.logits(module, weights) - expected).abs().max() / expected.abs().max()
    assert 1e-5 < error < 0.02


def test_a_weight_that_is_wanted_in_two_ways_is_cut_in_both(sharded: Sharded) -> None:
    """Queries divide its outputs, what reads the attention its inputs."""

    def body(tokens: Value, positions: Value, batch: Value) -> Value:
        def weight(name: str, rows: int) -> Value:
            return Weight(name, float_tensor([rows, 32], tokens.context)).out

        x, shared = Embedding(tokens, weight("table", 96)).out, weight("shared", 32)
        k, v = (Linear(x, weight(name, 16)).out for name in "kv")
        q = Linear(x, shared).out
        attended = Attention(
            q, k, v, batch, layer=0, heads=4, kv_heads=2, head_dim=8, scale=0.3
        ).out
        return Linear(Add(x, Linear(attended, shared).out).out, weight("table", 96)).out

    module = build_module(body)
    weights, sample = random_weights(module), random_sample(96, (5, 3))
    expected = sample.logits(module, weights)
    program = sharded(module, "tp2")
    found = sample.logits(program, weights)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()
    cuts = [one.dim for one in find_ops(program, Shard) if weight_symbols(one.x) == ["shared"]]
    assert sorted(cuts) == [0, 1]
