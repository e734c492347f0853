"""Weight expressions evaluate to what their operations say, and refuse what does not fit."""

import pytest
import torch
from torch import Tensor

from ingot.errors import CheckpointError
from ingot.ir import (
    Batch,
    Encoding,
    Module,
    QuantTensor,
    Value,
    evaluate_weight,
    is_weight_expression,
    quantize,
    run_step,
    weight_symbols,
)

BODY = """
  %a = "lm.weight"() {symbol = "a"} : () -> tensor<40x6xbf16>
  %b = "lm.weight"() {symbol = "b"} : () -> !lm.quant<tensor<3x40xf32>, "int4-g32-min">
  %at = "lm.transpose"(%a) : (tensor<40x6xbf16>) -> tensor<6x40xbf16>
  %af = "lm.convert"(%at) : (tensor<6x40xbf16>) -> tensor<6x40xf32>
  %bf = "lm.convert"(%b) : (!lm.quant<tensor<3x40xf32>, "int4-g32-min">) -> tensor<3x40xf32>
  %ab = "lm.concat"(%af, %bf) {operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>}
      : (tensor<6x40xf32>, tensor<3x40xf32>) -> tensor<9x40xf32>
  %half = "lm.scale"(%ab) {factor = 0.5} : (tensor<9x40xf32>) -> tensor<9x40xf32>
  %q = "lm.quantize"(%half) : (tensor<9x40xf32>) -> !lm.quant<tensor<9x40xf32>, "int4-g32">
  %y = "lm.linear"(%x, %q) {operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<?x40xf32>, !lm.quant<tensor<9x40xf32>, "int4-g32">) -> tensor<?x9xf32>
  return
"""
MIN = Encoding.parse("int4-g32-min")


@pytest.fixture
def module() -> Module:
    return Module.parse("func.func @f(%x: tensor<?x40xf32>) {" + BODY + "}")


@pytest.fixture
def weights() -> dict[str, Tensor | QuantTensor]:
    torch.manual_seed(0)
    return {
        "a": torch.randn(40, 6, dtype=torch.bfloat16),
        "b": quantize(torch.randn(3, 40), MIN),
    }


def results(module: Module) -> list[Value]:
    operations = list(module.functions[0].entry_block.operations)
    return [op.results[0] for op in operations if op.operation.name.startswith("lm.")]


def test_what_is_a_weight_expression(module: Module) -> None:
    *expressions, linear = results(module)
    assert all(map(is_weight_expression, expressions))
    assert not is_weight_expression(linear)
    assert not is_weight_expression(module.functions[0].arguments[0])
    assert weight_symbols(expressions[-1]) == ["a", "b"]


def test_evaluation(module: Module, weights: dict[str, Tensor | QuantTensor]) -> None:
    quantized = results(module)[-2]
    found = evaluate_weight(quantized, weights)
    a, b = weights["a"], weights["b"]
    assert isinstance(a, Tensor) and isinstance(b, QuantTensor)
    joined = torch.cat([a.float().T, b.dequantize()]) * 0.5
    expected = quantize(joined, Encoding.parse("int4-g32"))
    assert isinstance(found, QuantTensor)
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.scales, expected.scales)


class Streaming(dict[str, Tensor]):
    """Weights that count how many of them are read at a time."""

    def __init__(self, rows: int) -> None:
        super().__init__({f"w{index}": torch.ones(rows, 8) for index in range(3)})
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Tensor:
        self.read.append(name)
        return super().__getitem__(name)


def test_only_what_an_expression_needs_is_read() -> None:
    module = Module.parse("""
        func.func @f() {
          %0 = "lm.weight"() {symbol = "w0"} : () -> tensor<4x8xf32>
          %1 = "lm.weight"() {symbol = "w1"} : () -> tensor<4x8xf32>
          %2 = "lm.scale"(%1) {factor = 2.0} : (tensor<4x8xf32>) -> tensor<4x8xf32>
          return
        }""")
    weights = Streaming(4)
    found = evaluate_weight(results(module)[-1], weights)
    assert isinstance(found, Tensor) and float(found.sum()) == 64
    assert weights.read == ["w1"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"a": None}, "a: is not in the checkpoint"),
        (
            {"a": torch.zeros(40, 6)},
            r"a: is float32 \[40, 6\], the module expects tensor<40x6xbf16>",
        ),
        ({"a": torch.zeros(6, 40).bfloat16()}, r"a: is bfloat16 \[6, 40\]"),
        ({"b": torch.zeros(3, 40)}, r"b: is float32 \[3, 40\], the module expects !lm.quant"),
        ({"b": quantize(torch.ones(3, 40), Encoding.parse("int8"))}, r"b: is int8 \[3, 40\]"),
    ],
)
def test_what_does_not_fit_is_refused(
    module: Module,
    weights: dict[str, Tensor | QuantTensor],
    change: dict[str, Tensor | QuantTensor | None],
    message: str,
) -> None:
    for name, value in change.items():
        if value is None:
            del weights[name]
        else:
            weights[name] = value
    with pytest.raises(CheckpointError, match=message):
        evaluate_weight(results(module)[-2], weights)


def test_an_oracle_adds_no_rounding_to_arithmetic_on_weights() -> None:
    module = Module.parse(
        """
        func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x4xf32> {
          %e = "lm.weight"() {symbol = "e"} : () -> tensor<9x4xf32>
          %s = "lm.add_constant"(%e) {constant = 1.0 : f64} : (tensor<9x4xf32>) -> tensor<9x4xf32>
          %x = "lm.embedding"(%t, %s) : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x4xf32>
          return %x : tensor<?x4xf32>
        }
        """
    )
    weights = {"e": torch.full((9, 4), 2.0**-30)}
    inputs = torch.tensor([0]), torch.tensor([0]), Batch.single(1)
    exact = run_step(module, weights, *inputs, dtype=torch.float64)
    assert exact.tolist() == [[1 + 2.0**-30] * 4]
    assert run_step(module, weights, *inputs).tolist() == [[1.0] * 4]
