"""Weights are cut where they are stored, and encoded parts are the parts of the encoded."""

from collections.abc import Callable

import pytest

from ingot.errors import UsageError
from ingot.ir import (
    Add,
    Attention,
    Experts,
    Linear,
    Module,
    Quantize,
    Shard,
    Slice,
    Weight,
    encoding_of,
    weight_symbols,
)
from ingot.passes import find_ops, parse_pipeline

from .conftest import Reference, Sharded

QUANTIZE = "quantize{linear=%s,embedding=int8}"
CASES = [
    ("wide", "tp2", "int4-g32"),
    ("wide", "mesh=tp4,sequence=true", "int8"),
    ("wide", "tp2", "int8-g32"),
    ("wide-moe", "tp2xep2", "int4-g32"),
    ("wide-moe", "ep2xtp4", "int8"),
]


@pytest.mark.parametrize(("form", "mesh", "encoding"), CASES)
def test_a_program_of_encoded_weights_computes_the_same(
    form: str,
    mesh: str,
    encoding: str,
    unsharded: Callable[[str], Module],
    reference: Callable[[str], Reference],
    sharded: Sharded,
) -> None:
    module, known = unsharded(form), reference(form)
    parse_pipeline(QUANTIZE % encoding).run(module)
    expected = known.sample.logits(module, known.weights)
    found = known.sample.logits(sharded(module, mesh), known.weights)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()
    assert (expected - known.logits).abs().max() > 1e-4


@pytest.mark.parametrize(("form", "mesh"), [("wide", "tp2"), ("wide-moe", "tp2xep2")])
def test_programs_are_fused_like_other_modules(
    form: str,
    mesh: str,
    unsharded: Callable[[str], Module],
    reference: Callable[[str], Reference],
    sharded: Sharded,
) -> None:
    """Activations are rounded in groups of 32, of which a device here has whole ones."""
    module, known, encode = unsharded(form), reference(form), QUANTIZE % "int4-g32"
    parse_pipeline(f"{encode},fuse").run(module)
    expected = known.sample.logits(module, known.weights)
    fused = sharded(form, mesh, before=encode, after="fuse")
    found = known.sample.logits(fused, known.weights)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()
    assert not find_ops(fused, Add), "every sum is part of a norm"
    (first, *_) = find_ops(fused, Attention)
    assert isinstance(first.v.owner, Slice), "queries, keys and values are one linear"


@pytest.mark.parametrize("form", ["stored-int4", "stored-int8"])
def test_what_is_stored_encoded_is_cut_as_it_is(form: str, sharded: Sharded) -> None:
    module = sharded(form, "tp2")
    shards = find_ops(module, Shard)
    assert shards and all(isinstance(one.x.owner, Weight) for one in shards)
    linears = [op for op in find_ops(module, Linear) if "attn" in weight_symbols(op.w)[0]]
    assert linears and all(encoding_of(op.w) is not None for op in linears)


@pytest.mark.parametrize("encoding", ["int4-g32", "int8"])
def test_parts_are_cut_from_the_checkpoint_where_the_encoding_allows(
    encoding: str, sharded: Sharded
) -> None:
    """A scale for a whole row needs all of it, so that such a row is cut when it is encoded."""
    module = sharded("wide", "tp2", before=QUANTIZE % encoding)
    for shard in find_ops(module, Shard):
        whole_rows = encoding == "int8" and shard.dim == 1
        assert isinstance(shard.x.owner, Quantize if whole_rows else Weight), str(shard)


def test_experts_are_cut_in_the_checkpoint(sharded: Sharded) -> None:
    module = sharded("wide-moe", "tp2xep2", before=QUANTIZE % "int4-g32")
    for op in find_ops(module, Experts):
        for weight in (op.up, op.down):
            inner = weight.owner.w.owner.w.owner
            assert isinstance(inner, Shard) and isinstance(inner.x.owner, Shard)
            assert (inner.x.owner.axis, inner.axis) == ("ep", "tp")
            assert isinstance(inner.x.owner.x.owner, Weight)


def test_groups_that_a_mesh_would_cut_are_refused(sharded: Sharded) -> None:
    with pytest.raises(UsageError) as error:
        sharded("wide", "tp4", before=QUANTIZE % "int4-g64")
    message = str(error.value)
    assert "cannot divide 128 input features, stored as int4-g64, among 4 devices" in message
    assert "Sizes of tp that divide this model: 2. An encoding in groups of 32" in message


@pytest.mark.parametrize("form", ["phi3", "gpt2"])
def test_parts_of_fused_linears_are_cut_in_the_checkpoint(form: str, sharded: Sharded) -> None:
    """Where all that lies side by side is equally long: gates and ups; queries, keys, values."""
    module = sharded(form, "tp2")
    for shard in find_ops(module, Shard):
        (name,) = weight_symbols(shard.x)
        if "gate_up" in name or form == "gpt2":
            assert isinstance(shard.x.owner, Weight)
            fused = ("qkv", "gate_up")
            assert (shard.blocks > 1) == any(one in name for one in fused), name
