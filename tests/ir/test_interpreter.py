"""The interpreter runs torch and lm modules as the model itself runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from ingot.errors import UnsupportedError
from ingot.ir import Batch, Interpreter, Module, quantize, round_activations, run_step
from ingot.ir.encoding import Encoding
from ingot.models import import_model, open_checkpoint

SMALL: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SMALL | {"rope_parameters": ROPE, "tie_word_embeddings": True},
    "qwen3": SMALL | {"head_dim": 10},
    "mistral": SMALL | {"sliding_window": 5},
    "gpt2": {"n_embd": 36, "n_layer": 2, "n_head": 4, "vocab_size": 97, "eos_token_id": 2},
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = AutoConfig.for_model(request.param, **MODELS[request.param])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    folder: Path = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    checkpoint = open_checkpoint(folder)
    return model, import_model(checkpoint), checkpoint.weights


def logits(model: Any, tokens: Tensor) -> Tensor:
    with torch.inference_mode():
        result = model(tokens.unsqueeze(0)).logits[0]
    assert isinstance(result, Tensor)
    return result


def test_a_traced_model_gives_transformers_logits(model: Any) -> None:
    oracle, module, weights = model
    tokens = torch.randint(0, 97, (23,))
    found = run_step(module, weights, tokens, torch.arange(23), Batch.single(23))
    torch.testing.assert_close(found, logits(oracle, tokens), rtol=1e-4, atol=1e-4)


def test_float64_agrees_with_a_float64_model(model: Any) -> None:
    oracle, module, weights = model
    tokens = torch.randint(0, 97, (9,))
    found = run_step(module, weights, tokens, torch.arange(9), Batch.single(9), dtype=torch.float64)
    assert found.dtype == torch.float64
    expected = logits(oracle.double(), tokens)
    oracle.float()
    # The rotary angles of transformers are float32 whatever the model's type.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_sequences_are_ragged_and_grow_in_pieces(model: Any) -> None:
    oracle, module, weights = model
    first, second = torch.randint(0, 97, (11,)), torch.randint(0, 97, (8,))
    interpreter = Interpreter(module, weights)
    batch = Batch([0, 4, 5])
    positions = torch.cat([torch.arange(4), torch.arange(1)])
    interpreter.step(torch.cat([first[:4], second[:1]]), positions, batch)
    batch.starts, batch.rows = [0, 7, 14], [6, 13]
    positions = torch.cat([torch.arange(4, 11), torch.arange(1, 8)])
    found = interpreter.step(torch.cat([first[4:], second[1:]]), positions, batch)
    # A module before `select-rows` gives the logits of all tokens.
    assert found.shape == (14, 97)
    torch.testing.assert_close(found[6], logits(oracle, first)[-1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[7:], logits(oracle, second)[1:], rtol=1e-4, atol=1e-4)


STEP = """
func.func private @twice(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %0 = "lm.to_torch"(%x) : (tensor<?x64xf32>) -> !torch.vtensor<[1,?,64],f32>
  %int2 = torch.constant.int 2
  %1 = torch.aten.mul.Scalar %0, %int2
      : !torch.vtensor<[1,?,64],f32>, !torch.int -> !torch.vtensor<[1,?,64],f32>
  %2 = "lm.from_torch"(%1) : (!torch.vtensor<[1,?,64],f32>) -> tensor<?x64xf32>
  return %2 : tensor<?x64xf32>
}
func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x9xf32> {
  %e = "lm.weight"() {symbol = "e"} : () -> tensor<9x64xf32>
  %x = "lm.embedding"(%t, %e) : (tensor<?xi32>, tensor<9x64xf32>) -> tensor<?x64xf32>
  %y = func.call @twice(%x) : (tensor<?x64xf32>) -> tensor<?x64xf32>
  %s = "lm.select_rows"(%y, %b) : (tensor<?x64xf32>, !lm.batch) -> tensor<?x64xf32>
  %r = "lm.round"(%s) : (tensor<?x64xf32>) -> !lm.quant<tensor<?x64xf32>, "int8-act">
  %q = "lm.quantize"(%e) : (tensor<9x64xf32>) -> !lm.quant<tensor<9x64xf32>, "int4-g32">
  %z = "lm.linear"(%r, %q) {operandSegmentSizes = array<i32: 1, 1, 0>}
      : (!lm.quant<tensor<?x64xf32>, "int8-act">, !lm.quant<tensor<9x64xf32>, "int4-g32">)
      -> tensor<?x9xf32>
  return %z : tensor<?x9xf32>
}
"""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_quantised_step_with_a_call(dtype: torch.dtype) -> None:
    module = Module.parse(STEP)
    table = torch.randn(9, 64)
    tokens = torch.tensor([3, 1, 4, 1, 5])
    batch = Batch([0, 2, 5], rows=[1, 4])
    found = run_step(module, {"e": table}, tokens, torch.arange(5), batch, dtype)
    x = round_activations(2 * table[tokens[[1, 4]]].to(dtype)).dequantize(dtype)
    w = quantize(table, Encoding.parse("int4-g32")).dequantize(dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found, x @ w.T)


def test_weight_expressions_are_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from ingot.ir.ops import quantize as file

    calls: list[int] = []
    original: Callable[..., Any] = file.quantize
    monkeypatch.setattr(file, "quantize", lambda *a: (calls.append(1), original(*a))[1])
    module = Module.parse(STEP)
    interpreter = Interpreter(module, {"e": torch.randn(9, 64)})
    for _ in range(3):
        interpreter.step(torch.tensor([1]), torch.tensor([0]), Batch.single(1))
    assert len(calls) == 1


def test_sinks_take_part_in_the_softmax() -> None:
    module = Module.parse("""
        func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x2x3xf32> {
          %e = "lm.weight"() {symbol = "e"} : () -> tensor<9x6xf32>
          %s = "lm.weight"() {symbol = "s"} : () -> tensor<2xf32>
          %x = "lm.embedding"(%t, %e) : (tensor<?xi32>, tensor<9x6xf32>) -> tensor<?x6xf32>
          %0 = "lm.to_torch"(%x) : (tensor<?x6xf32>) -> !torch.vtensor<[1,?,6],f32>
          %sinks = "lm.to_torch"(%s) : (tensor<2xf32>) -> !torch.vtensor<[2],f32>
          %int1 = torch.constant.int 1
          %int2 = torch.constant.int 2
          %int3 = torch.constant.int 3
          %int-1 = torch.constant.int -1
          %list = torch.prim.ListConstruct %int1, %int-1, %int2, %int3
              : (!torch.int, !torch.int, !torch.int, !torch.int) -> !torch.list<int>
          %1 = torch.aten.view %0, %list
              : !torch.vtensor<[1,?,6],f32>, !torch.list<int> -> !torch.vtensor<[1,?,2,3],f32>
          %q = torch.aten.transpose.int %1, %int1, %int2
              : !torch.vtensor<[1,?,2,3],f32>, !torch.int, !torch.int
              -> !torch.vtensor<[1,2,?,3],f32>
          %int0 = torch.constant.int 0
          %none = torch.constant.none
          %true = torch.constant.bool true
          %scale = torch.constant.float 5.000000e-01
          %cap = torch.constant.float 0.000000e+00
          %y = torch.operator "torch.ingot.attention"
              (%q, %q, %q, %sinks, %none, %int0, %scale, %true, %int0, %int0, %cap)
              : (!torch.vtensor<[1,2,?,3],f32>, !torch.vtensor<[1,2,?,3],f32>,
                 !torch.vtensor<[1,2,?,3],f32>, !torch.vtensor<[2],f32>, !torch.none, !torch.int,
                 !torch.float, !torch.bool, !torch.int, !torch.int, !torch.float)
              -> !torch.vtensor<[1,?,2,3],f32>
          %z = "lm.from_torch"(%y) : (!torch.vtensor<[1,?,2,3],f32>) -> tensor<?x2x3xf32>
          return %z : tensor<?x2x3xf32>
        }""")
    table, sinks = torch.randn(9, 6), torch.randn(2)
    tokens = torch.tensor([2, 7])
    weights = {"e": table, "s": sinks}
    found = run_step(module, weights, tokens, torch.arange(2), Batch.single(2))
    q = table[tokens].view(2, 2, 3)
    for head in range(2):
        scores = torch.cat([q[:, head] @ q[1, head] * 0.5, sinks[head : head + 1]])
        expected = scores.softmax(0)[:2] @ q[:, head]
        torch.testing.assert_close(found[1, head], expected)


def test_an_unknown_operation_is_named_and_located() -> None:
    module = Module.parse(
        """
        func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> index {
          %c = arith.constant 3 : index
          return %c : index
        }""",
        where="step.mlir",
    )
    with pytest.raises(UnsupportedError, match=r"step.mlir:3:.* does not know arith.constant"):
        run_step(module, {}, torch.tensor([1]), torch.tensor([0]), Batch.single(1))
