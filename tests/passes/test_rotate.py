"""The residual stream and the heads are rotated by weights alone, and nothing else changes."""

import re
from pathlib import Path

import pytest
from transformers import AutoConfig

from ingot.errors import UsageError
from ingot.ir import Embedding, Module, RmsNorm, columns_of
from ingot.models import import_model, open_checkpoint, write_random_checkpoint
from ingot.passes import Sample, find_ops, find_pass, parse_pipeline, verify_pass

from .conftest import BFLOAT16, SMALL, Model

EXACT = 1e-9
FLOAT32 = 1e-6
"""Where weights are widened to float32 before they are rotated."""
LAYER_NORMS = ("gpt2",)


def activation_ops(module: Module) -> list[str]:
    """Return the operations that read or make something of the step's tokens, in order."""
    names = re.findall(r'"(lm\.\w+)"', str(module.step))
    weights = {"lm.weight", "lm.convert", "lm.rotate", "lm.scale_columns", "lm.fill"}
    return [name for name in names if name not in weights]


@pytest.mark.parametrize("options", ["", "{seed=7}", "{heads=false}"])
def test_logits_stay_and_no_operation_is_added(model: Model, sample: Sample, options: str) -> None:
    if model.name in LAYER_NORMS:
        return
    module = model.module("lift")
    before = activation_ops(module)
    (one,) = parse_pipeline(f"rotate{options}").passes
    error = verify_pass(one, module, model.weights, sample)
    assert error < (FLOAT32 if model.name in BFLOAT16 else EXACT)
    assert activation_ops(module) == before
    width = columns_of(find_ops(module, Embedding)[0].out)
    norms = [norm for norm in find_ops(module, RmsNorm) if columns_of(norm.w) == width]
    assert norms and all(norm.w.owner.operation.name == "lm.fill" for norm in norms)
    assert str(module).count('"lm.rotate"') > 8


def test_layer_norms_are_refused_by_name_and_line(model: Model) -> None:
    if model.name in LAYER_NORMS:
        with pytest.raises(UsageError, match=r"lm\.layer_norm does not commute") as caught:
            model.module("lift,rotate")
        assert "modeling_gpt2.py" in caught.value.where


def test_encoded_weights_are_decoded_first(model: Model, sample: Sample) -> None:
    if model.name == "mistral":
        module = model.module("lift,quantize")
        assert verify_pass(find_pass("rotate")(), module, model.weights, sample) < FLOAT32


def test_rounded_activations_are_refused(model: Model) -> None:
    if model.name == "mistral":
        with pytest.raises(UsageError, match="rotate@before=quantize"):
            model.module("lift,quantize,fuse,rotate")


def test_experts_read_and_write_the_stream(tmp_path: Path, sample: Sample) -> None:
    config = AutoConfig.for_model("mixtral", **SMALL, num_local_experts=4)
    write_random_checkpoint(tmp_path, config)
    checkpoint = open_checkpoint(tmp_path)
    module = import_model(checkpoint)
    parse_pipeline("lift").run(module)
    assert verify_pass(find_pass("rotate")(), module, checkpoint.weights, sample) < EXACT
