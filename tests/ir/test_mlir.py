"""The guards around the bindings' defects hold."""

import ctypes

import pytest

from ingot.ir import (
    ExecutionEngine,
    MlirModule,
    PassManager,
    attribute_of,
    new_context,
    plain_address,
    python_value,
)

ADD = """
func.func @add(%a: i64, %b: i64) -> i64 attributes {llvm.emit_c_interface} {
  %c = arith.addi %a, %b : i64
  return %c : i64
}
"""


def lowered() -> MlirModule:
    context = new_context()
    module = MlirModule.parse(ADD, context)
    with context:
        pipeline = "builtin.module(convert-arith-to-llvm,convert-func-to-llvm)"
        PassManager.parse(pipeline).run(module.operation)
    return module


@pytest.mark.parametrize("value", [True, False, 0, -3, 1 << 40, 0.0, 1e-5, "", "a b"])
def test_attributes_give_their_value_back(value: bool | int | float | str) -> None:
    found = python_value(attribute_of(value, new_context()))
    assert found == value and type(found) is type(value)


def test_a_jitted_function_is_called_by_its_plain_address() -> None:
    engine = ExecutionEngine(lowered())
    add = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(
        plain_address(engine, "add")
    )
    assert add(40, 2) == 42
    with pytest.raises(AssertionError, match="no function missing"):
        plain_address(engine, "missing")
