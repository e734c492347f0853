"""The five architectures: raised without a remainder, equal to transformers, pass by pass."""

from collections.abc import Callable

import pytest
import torch

from ingot.errors import UnsupportedError
from ingot.ir import Batch, run_step
from ingot.passes import Sample, all_passes, parse_pipeline, verify_pass, verifying

from .conftest import Model

PIPELINE = (
    "raise,canonicalize,fold-arrangements,select-rows,outline,quantize,merge-linears,fuse-norms,"
    "round-activations,fuse-rounding,canonicalize,decompose,assign-sharding{mesh=pp2xcp2},"
    "propagate-sharding,partition,narrow-exchanges"
)
ROTATED = PIPELINE.replace("quantize", "rotate,quantize")
"""For models whose norms are RMS norms: others cannot be rotated."""
ENCODINGS = (
    "linear=int8",
    "linear=int4-g64-sym,head=int8-g32",
    "linear=none,embedding=none",
    "linear=none,embedding=none,float=bfloat16",
)
PATTERNS = (
    "activation",
    "elementwise",
    "embedding",
    "gelu_tanh",
    "glu",
    "layer_norm",
    "linear",
    "rms_norm",
    "rope",
    "slices",
)


def test_nothing_is_left_in_torch_and_logits_equal_transformers(model: Model) -> None:
    raised = model.module("raise")
    assert "torch" not in str(raised)
    for length in (1, 7, 64):
        tokens = torch.randint(97, (length,), generator=torch.Generator().manual_seed(length))
        positions, batch = torch.arange(length), Batch.single(length)
        found = run_step(raised, model.weights, tokens, positions, batch)
        expected = model.expected(tokens)
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_every_pass_keeps_its_contract(model: Model, sample: Sample) -> None:
    pipeline = parse_pipeline(PIPELINE if model.name == "gpt2" else ROTATED)
    pipeline.run(model.module(), verifying(model.weights, sample))
    assert {one.name() for one in pipeline.passes} | {"rotate"} == set(all_passes())


@pytest.mark.parametrize("options", ENCODINGS)
def test_quantize_keeps_its_contract_under_other_options(
    model: Model, sample: Sample, options: str
) -> None:
    if "head" in options and model.name in ("llama-mha-tied", "qwen3", "gpt2"):
        options = options.replace("head", "embedding")
    module = model.module("raise,canonicalize")
    (one,) = parse_pipeline(f"quantize{{{options}}}").passes
    verify_pass(one, module, model.weights, sample)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("architecture", ["qwen3", "gpt2"])
def test_a_removed_pattern_leaves_a_remainder_that_computes_the_same(
    models: Callable[[str], Model], sample: Sample, architecture: str, name: str
) -> None:
    model = models(architecture)
    module = model.module()
    pipeline = parse_pipeline(f"raise{{without={name}}},canonicalize,outline")
    pipeline.run(module, verifying(model.weights, sample))
    assert "torch" not in str(module.step)


def test_removed_patterns_make_functions_that_layers_share(
    models: Callable[[str], Model],
) -> None:
    module = models("qwen3").module("raise{without=rms_norm;rope},canonicalize,outline")
    calls = str(module.step).count("call @remainder")
    functions = len(module.functions) - 1
    assert 0 < functions < calls


def test_attention_cannot_be_a_remainder(models: Callable[[str], Model]) -> None:
    with pytest.raises(UnsupportedError, match=r"ingot\.attention cannot be compiled") as error:
        models("llama").module("raise{without=attention},canonicalize,outline")
    assert "model.layers.0.self_attn" in error.value.where
    assert ".py:" in error.value.where
