"""Which collectives stand in a program, and where its stages begin."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from ingot.ir import (
    Attention,
    Embedding,
    Experts,
    Linear,
    Mesh,
    Module,
    Op,
    PartialAttention,
    SendRecv,
    Shard,
    weight_symbols,
)
from ingot.passes import find_ops, parse_pipeline

from .conftest import Sharded
from .models import LLAMA, decoder

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "dispatch", "combine", "send_recv")
# Two layers: a sum for the embedding, for each attention and each unit; logits are gathered.
TENSOR_PARALLEL = {"all_reduce": 5, "all_gather": 1}
# The sums of the last layer are of selected rows, which stay whole: its residual is gathered.
SEQUENCE_PARALLEL = {"reduce_scatter": 3, "all_gather": 5, "all_reduce": 2}
EXPECTED = {
    ("llama", "dp2"): {},
    ("llama", "tp4"): TENSOR_PARALLEL,
    ("llama", "dp2xtp4"): TENSOR_PARALLEL,
    ("llama", "mesh=tp2,sequence=true"): SEQUENCE_PARALLEL,
    ("llama", "pp2"): {"send_recv": 1},
    ("llama", "pp2xtp2"): {**TENSOR_PARALLEL, "send_recv": 1},
    ("llama", "mesh=pp2xtp2,sequence=true"): {**SEQUENCE_PARALLEL, "send_recv": 1},
    ("phi3", "tp2"): TENSOR_PARALLEL,
    ("gpt2", "tp2"): TENSOR_PARALLEL,
    ("deepseek", "tp2"): TENSOR_PARALLEL,
    ("falcon", "tp2"): {"all_reduce": 3, "all_gather": 1},
    ("mixtral", "ep4"): {"dispatch": 2, "combine": 2},
    ("deepseek", "tp2xep4"): {**TENSOR_PARALLEL, "dispatch": 2, "combine": 2},
}


@pytest.mark.parametrize(("form", "mesh"), EXPECTED)
def test_a_program_has_no_more_collectives_than_it_needs(
    form: str, mesh: str, sharded: Sharded
) -> None:
    assert collectives(sharded(form, mesh)) == EXPECTED[form, mesh]


def collectives(module: Module) -> dict[str, int]:
    """Return how often each collective stands in the step."""
    names = [op.operation.name.removeprefix("lm.") for op in module.step.entry_block.operations]
    return dict(Counter(name for name in names if name in COLLECTIVES))


def test_devices_have_equal_shares(sharded: Sharded) -> None:
    """Two KV heads on eight devices: four neighbours hold the same one."""
    module = sharded("llama", "tp8")
    for attention in find_ops(module, Attention):
        assert (attention.heads, attention.kv_heads) == (1, 1)
    parts = {weight_symbols(one.x)[0]: one.parts for one in find_ops(module, Shard)}
    assert parts["layers.0.attn.k"] == parts["layers.1.attn.v"] == 2
    assert parts["layers.0.attn.q"] == parts["layers.1.mlp.down"] == parts["embed"] == 8


def test_what_routes_is_whole_and_experts_are_not(sharded: Sharded) -> None:
    module = sharded("mixtral", "tp2xep4")
    cut = {weight_symbols(one.x)[0] for one in find_ops(module, Shard)}
    assert "layers.0.moe.router" not in cut
    assert {"layers.0.moe.up", "layers.1.moe.down"} <= cut
    assert [op.experts for op in find_ops(module, Experts)] == [2, 2]


def test_caches_are_divided_along_cp(sharded: Sharded) -> None:
    module = sharded("llama", "cp2xtp2")
    parts = find_ops(module, PartialAttention)
    assert [(op.axis, op.size, op.heads) for op in parts] == [("cp", 2, 4)] * 2
    assert not find_ops(module, Attention)


def test_stages_begin_at_the_residual_stream(sharded: Sharded) -> None:
    module = sharded("llama", "pp2")
    (crossing,) = find_ops(module, SendRecv)
    readers = {use.owner.operation.name for use in crossing.out.uses}
    assert readers == {"lm.rms_norm", "lm.select_rows"}
    assert crossing.x.owner.operation.name == "lm.add"


def test_stages_are_balanced_by_bytes(sharded: Sharded) -> None:
    """An embedding as heavy as all layers is a stage with as few of them as can be."""
    heavy = decoder(replace(LLAMA, layers=4, vocabulary=4096, tied=True))
    module = sharded(heavy, "pp4")
    assert [op.stage for op in find_ops(module, SendRecv)] == [1, 2, 3]


def test_a_mark_is_left_of_nothing_but_the_mesh(sharded: Sharded) -> None:
    module = sharded("llama", "mesh=pp2xtp2,sequence=true")
    assert module.mesh == Mesh.parse("pp2xtp2")
    for mark in ("lm.sharding", "lm.stage", "lm.sequence_parallel"):
        assert mark not in str(module)


def test_nothing_happens_without_a_mesh(unsharded: Callable[[str], Module]) -> None:
    module = unsharded("llama")
    before = str(module)
    parse_pipeline("assign-sharding,propagate-sharding,partition").run(module)
    assert str(module) == before


def test_every_value_has_a_sharding_once_they_have_spread(
    unsharded: Callable[[str], Module],
) -> None:
    module = unsharded("llama")
    parse_pipeline("assign-sharding{mesh=tp4},propagate-sharding").run(module)
    (first, *_) = find_ops(module, Embedding)
    assert first.attributes["lm.sharding"].value == "[-, -] sum tp"
    for linear in find_ops(module, Linear):
        assert linear.attributes["lm.sharding"].value in ("[-, tp]", "[-, tp:2]", "[-, -] sum tp")
    values = [op for op in module.step.entry_block.operations if isinstance(op, Op)]
    marked = [op for op in values if "lm.sharding" in op.attributes]
    assert len(marked) > len(values) / 2
