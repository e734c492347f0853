"""Modules are read, written, copied, and refused with file and line."""

import pytest

from ingot.errors import IngotError
from ingot.ir import (
    InvalidModuleError,
    Linear,
    Module,
    RmsNorm,
    Weight,
    all_operations,
    before,
    new_context,
    place_of,
)

STEP = """
func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x8xf32> {
  %e = "lm.weight"() {symbol = "e"} : () -> !lm.quant<tensor<9x4xf32>, "int8">
  %x = "lm.embedding"(%t, %e)
      : (tensor<?xi32>, !lm.quant<tensor<9x4xf32>, "int8">) -> tensor<?x4xf32>
  %n = "lm.weight"() {symbol = "n"} : () -> tensor<4xf32>
  %h = "lm.rms_norm"(%x, %n) {eps = 1.000000e-05, heads = 1}
      : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %w = "lm.weight"() {symbol = "w"} : () -> tensor<8x4xbf16>
  %y = "lm.linear"(%h, %w) {operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<?x4xf32>, tensor<8x4xbf16>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
"""


def test_text_round_trip() -> None:
    module = Module.parse(STEP)
    again = Module.parse(module.text())
    assert again.text() == module.text() == str(module)
    located = Module.parse(module.text(locations=True))
    assert located.text(locations=True) == module.text(locations=True)


def test_bytecode_round_trip_keeps_locations() -> None:
    module = Module.parse(STEP, where="step.mlir")
    again = Module.parse(module.bytecode())
    assert again.text(locations=True) == module.text(locations=True)
    assert "step.mlir" in again.text(locations=True)
    assert again.bytecode() == module.bytecode()


def test_attributes_and_operands_read_as_python_values() -> None:
    module = Module.parse(STEP)
    operations = list(module.step.entry_block.operations)
    (norm,) = [op for op in operations if isinstance(op, RmsNorm)]
    (linear,) = [op for op in operations if isinstance(op, Linear)]
    assert (norm.eps, norm.heads) == (1e-5, 1)
    assert isinstance(linear.w.owner, Weight) and linear.w.owner.symbol == "w"
    assert linear.bias is None and linear.x == norm.out


def test_clone_is_independent() -> None:
    module = Module.parse(STEP)
    copy = module.clone()
    (linear,) = [op for op in copy.step.entry_block.operations if isinstance(op, Linear)]
    linear.x.owner.attributes["eps"] = linear.x.owner.attributes["heads"]
    assert copy.text() != module.text()
    module.verify()


def test_a_replacement_stands_where_the_replaced_stood() -> None:
    module = Module.parse(STEP, where="step.mlir")
    (linear,) = [op for op in module.step.entry_block.operations if isinstance(op, Linear)]
    with before(linear):
        new = Linear(linear.x, linear.w)
    linear.out.replace_all_uses_with(new.out)
    linear.operation.erase()
    module.verify()
    assert place_of(new.location) == "step.mlir:10:8"


def test_modules_in_two_contexts_live_side_by_side() -> None:
    first, second = Module.parse(STEP), Module.parse(STEP)
    assert first.context != second.context
    for module in (first, second, first):
        (linear,) = [op for op in module.step.entry_block.operations if isinstance(op, Linear)]
        assert linear.x.owner.eps == 1e-5
        module.verify()


@pytest.mark.parametrize(
    "old, new, place, message",
    [
        ("%y :", "%z :", "m.mlir:12:10", "undeclared SSA value"),
        ("lm.linear", "lm.lineal", "m.mlir:10:8", "unregistered operation 'lm.lineal'"),
        (", %b: !lm.batch", "", "m.mlir:2:1", "@step takes (tensor<?xi32>, tensor<?xi32>)"),
        ('9x4xf32>, "int8"', '9x4xf32>, "int9"', "m.mlir:3:8", "unknown encoding 'int9'"),
        (", heads = 1", "", "m.mlir:7:8", "'lm.rms_norm' needs the attribute heads"),
        ("heads = 1", "heads = 1.0", "m.mlir:7:8", "needs heads to be an integer (i64), found 1.0"),
        ("eps = 1.000000e-05", "eps = true", "m.mlir:7:8", "needs eps to be a number (f64)"),
        ('symbol = "n"', "symbol = 3", "m.mlir:6:8", "needs symbol to be a string, found 3"),
        (
            "1, 1, 0",
            "1, 1, 1",
            "m.mlir:10:8",
            "has 2 operands, but operandSegmentSizes is [1, 1, 1]",
        ),
        ("1, 1, 0", "1, 1", "m.mlir:10:8", "has 2 operands, but operandSegmentSizes is [1, 1]"),
        ("operandSegmentSizes", "sizes", "m.mlir:10:8", "needs operandSegmentSizes, one number"),
        ("(%x, %n)", "(%x)", "m.mlir:8:9", "expected 1 operand type but had 2"),
    ],
)
def test_errors_name_file_and_line(old: str, new: str, place: str, message: str) -> None:
    assert STEP.count(old) >= 1
    with pytest.raises(InvalidModuleError) as caught:
        Module.parse(STEP.replace(old, new), where="m.mlir")
    assert caught.value.where == place
    assert message in str(caught.value)
    assert isinstance(caught.value, IngotError) and caught.value.hint


def test_wrong_number_of_operands() -> None:
    text = STEP.replace("(%x, %n)", "(%x)").replace(
        "(tensor<?x4xf32>, tensor<4xf32>) ->", "(tensor<?x4xf32>) ->"
    )
    with pytest.raises(InvalidModuleError, match="needs the operands x, w, found 1"):
        Module.parse(text)


def test_a_damaged_bytecode_is_refused() -> None:
    code = Module.parse(STEP).bytecode()
    with pytest.raises(InvalidModuleError) as caught:
        Module.parse(code[: len(code) // 2], where="graph.mlirbc")
    assert "graph.mlirbc" in str(caught.value)


def test_a_module_without_a_step() -> None:
    module = Module.create()
    module.verify()
    with pytest.raises(InvalidModuleError, match="has no function @step"):
        _ = module.step


def test_loading_is_per_context() -> None:
    context = new_context()
    assert all(context.is_registered_operation(name) for name in all_operations())
