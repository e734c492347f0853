"""Traced and imported architectures: types, symbols, locations, and the same logits."""

import re
from pathlib import Path

import pytest
import torch
import transformers

from ingot.errors import UnsupportedError
from ingot.ir import (
    Batch,
    Convert,
    Module,
    Weight,
    float_tensor,
    run_step,
    step_inputs,
    tensor_type,
)
from ingot.ir.mlir import DYNAMIC, BF16Type
from ingot.models import Checkpoint, import_model, open_checkpoint, write_random_checkpoint
from ingot.models.architecture import config_from_fields
from ingot.models.tracing.trace import trace

NAMES = ("llama", "qwen2", "qwen3", "mistral", "gpt2")


@pytest.fixture(scope="module")
def imported(folders: dict[str, Path]) -> dict[str, tuple[Checkpoint, Module]]:
    opened = {name: open_checkpoint(folders[name]) for name in NAMES}
    return {name: (found, import_model(found)) for name, found in opened.items()}


def weights_of(module: Module) -> list[Weight]:
    return [op for op in module.step.entry_block.operations if isinstance(op, Weight)]


@pytest.mark.parametrize("name", NAMES)
def test_the_step_has_its_types(imported: dict[str, tuple[Checkpoint, Module]], name: str) -> None:
    checkpoint, module = imported[name]
    kind = module.step.type
    assert list(kind.inputs) == step_inputs(module.context)
    logits = float_tensor([DYNAMIC, checkpoint.config.vocab_size], module.context)
    assert list(kind.results) == [logits]
    module.verify()
    assert str(Module.parse(module.text())) == str(module)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_one_symbol(
    imported: dict[str, tuple[Checkpoint, Module]], name: str
) -> None:
    checkpoint, module = imported[name]
    symbols = [weight.symbol for weight in weights_of(module)]
    assert len(set(symbols)) == len(symbols)
    parameters = {checkpoint.symbol(name) for name in checkpoint.weights}
    unused = {s for s in parameters if s.endswith("original_inv_freq")}
    assert set(symbols) == parameters - unused
    for weight in weights_of(module):
        shape = checkpoint.weights.info(weight.symbol).shape
        assert weight.out.type == float_tensor(shape, module.context)


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(
    imported: dict[str, tuple[Checkpoint, Module]], folders: dict[str, Path], name: str
) -> None:
    checkpoint, module = imported[name]
    model = transformers.AutoModelForCausalLM.from_pretrained(folders[name])
    for count in (1, 40):
        tokens = (torch.arange(count) * 7 + 3) % checkpoint.config.vocab_size
        batch = Batch.single(count)
        found = run_step(module, checkpoint.weights, tokens, torch.arange(count), batch)
        with torch.inference_mode():
            expected = model(tokens.unsqueeze(0)).logits[0]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_gone(imported: dict[str, tuple[Checkpoint, Module]], name: str) -> None:
    text = imported[name][1].text()
    assert not re.search(r"_assert_tensor_metadata|aten\.alias|aten\.clone|aten\.detach", text)
    assert "dense_resource" not in text and "literal" not in text


@pytest.mark.parametrize("name", NAMES)
def test_attention_keeps_its_attributes(
    imported: dict[str, tuple[Checkpoint, Module]], name: str
) -> None:
    checkpoint, module = imported[name]
    operators = [
        op
        for op in module.step.entry_block.operations
        if "name" in op.attributes and op.attributes["name"].value == "torch.ingot.attention"
    ]
    config = checkpoint.config
    assert len(operators) == config.num_hidden_layers
    for layer, op in enumerate(operators):
        found = [operand.owner.attributes["value"].value for operand in list(op.operands)[5:]]
        head_dim = getattr(config, "head_dim", None) or 16
        window = 16 if name == "mistral" else 0
        assert op.operands[5].owner.attributes["value"].value == layer
        assert found == [layer, head_dim**-0.5, True, window, 0, 0.0]


def test_operations_know_module_and_line(
    imported: dict[str, tuple[Checkpoint, Module]],
) -> None:
    module = imported["llama"][1]
    linear = [
        op for op in module.step.entry_block.operations if op.operation.name == "torch.aten.linear"
    ]
    places = [str(op.location) for op in linear]
    file = r'"transformers/models/llama/modeling_llama\.py":\d+:0'
    assert re.fullmatch(rf'loc\("model\.layers\.1\.mlp\.down_proj"\({file}\)\)', places[-2])
    assert re.fullmatch(rf'loc\("lm_head"\({file}\)\)', places[-1])
    rotary = [str(op.location) for op in module.step.entry_block.operations if "cos" in str(op)]
    assert re.search(rf'"model\.rotary_emb"\({file}\)', rotary[0])


def test_no_path_of_this_machine_is_in_a_module(
    imported: dict[str, tuple[Checkpoint, Module]],
) -> None:
    for _, module in imported.values():
        places = re.findall(r'"([^"]+)":\d+:\d+', module.text(locations=True))
        assert places
        assert all(place.startswith(("transformers/", "torch/")) for place in places)


def test_stored_types_are_kept_and_converted(tmp_path: Path, folders: dict[str, Path]) -> None:
    config = open_checkpoint(folders["qwen2"]).config
    folder = write_random_checkpoint(tmp_path / "half", config, dtype=torch.bfloat16)
    checkpoint = open_checkpoint(folder)
    module = import_model(checkpoint)
    for weight in weights_of(module):
        shape = checkpoint.weights.info(weight.symbol).shape
        if weight.symbol.endswith("inv_freq"):
            assert weight.out.type == float_tensor(shape, module.context)
            continue
        assert weight.out.type == tensor_type(shape, BF16Type.get(module.context))
        (use,) = weight.out.uses
        assert isinstance(use.owner, Convert)
        assert use.owner.out.type == float_tensor(shape, module.context)


def test_encoded_weights_keep_their_encoding(smollm2: Path) -> None:
    checkpoint = open_checkpoint(smollm2)
    checkpoint.config.num_hidden_layers = 1
    module = import_model(checkpoint)
    types = {weight.symbol: str(weight.out.type) for weight in weights_of(module)}
    assert types["model.layers.0.self_attn.k_proj.weight"] == (
        '!lm.quant<tensor<192x576xf32>, "int4-g32-min">'
    )
    assert types["model.embed_tokens.weight"] == ('!lm.quant<tensor<49152x576xf32>, "int8-g32">')
    assert types["model.norm.weight"] == "tensor<576xf32>"
    assert "lm_head.weight" not in types


@pytest.mark.parametrize("model_type", ["mixtral", "gpt_oss"])
def test_experts_arrive_as_one_operation(model_type: str) -> None:
    fields = {
        "model_type": model_type,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "vocab_size": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    traced = trace(config_from_fields(fields, where="test"))
    operators = [node.target for node in traced.graph.nodes]
    assert operators.count(torch.ops.ingot.experts.default) == 1
    assert operators.count(torch.ops.ingot.attention.default) == 1


def test_own_attention_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingot.models.architecture.adapt_attention", lambda model: None)
    fields = {"model_type": "bloom", "hidden_size": 32, "n_layer": 1, "n_head": 2, "vocab_size": 64}
    with pytest.raises(UnsupportedError, match="'bloom' mixes tokens"):
        trace(config_from_fields(fields, where="test"))


def test_what_cannot_be_traced_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.llama.modeling_llama import LlamaMLP

    def depends_on_data(self: LlamaMLP, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x

    monkeypatch.setattr(LlamaMLP, "forward", depends_on_data)
    fields = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 64}
    config = config_from_fields(fields | {"num_attention_heads": 2}, where="test")
    with pytest.raises(UnsupportedError, match=r"'llama' of transformers .* cannot be traced"):
        trace(config)
