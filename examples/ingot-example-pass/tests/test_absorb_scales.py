"""The pass by its text, and by its contract on random modules."""

import pytest
from ingot_example_pass.absorb_scales import AbsorbScales

from ingot.errors import UsageError
from ingot.ir import Module
from ingot.passes import find_pipeline, parse_pipeline
from ingot.passes.testing import assert_contract, assert_equivalent, assert_pass

BEFORE = """
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch)
    -> tensor<?x9xf32> {
  %e = "lm.weight"() {symbol = "e"} : () -> tensor<9x4xf32>
  %h = "lm.weight"() {symbol = "h"} : () -> tensor<9x4xf32>
  %x = "lm.embedding"(%tokens, %e) : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x4xf32>
  %y = "lm.linear"(%x, %h) {operandSegmentSizes = array<i32: 1, 1, 0>}
    : (tensor<?x4xf32>, tensor<9x4xf32>) -> tensor<?x9xf32>
  %z = "lm.scale"(%y) {factor = 2.5 : f64} : (tensor<?x9xf32>) -> tensor<?x9xf32>
  return %z : tensor<?x9xf32>
}
"""
AFTER = """
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch)
    -> tensor<?x9xf32> {
  %e = "lm.weight"() {symbol = "e"} : () -> tensor<9x4xf32>
  %h = "lm.weight"() {symbol = "h"} : () -> tensor<9x4xf32>
  %x = "lm.embedding"(%tokens, %e) : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x4xf32>
  %w = "lm.scale"(%h) {factor = 2.5 : f64} : (tensor<9x4xf32>) -> tensor<9x4xf32>
  %z = "lm.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>}
    : (tensor<?x4xf32>, tensor<9x4xf32>) -> tensor<?x9xf32>
  return %z : tensor<?x9xf32>
}
"""


def test_a_factor_moves_to_the_weight() -> None:
    assert_pass(AbsorbScales(), BEFORE, AFTER)
    assert_equivalent(BEFORE, AFTER, AbsorbScales().promise())


@pytest.mark.parametrize(
    ("kept", "pipeline"),
    [("named", "absorb-scales{without=h}"), ("encoded", "quantize{head=int8},absorb-scales")],
)
def test_some_weights_stay(kept: str, pipeline: str) -> None:
    module = Module.parse(BEFORE)
    parse_pipeline(pipeline).run(module)
    assert str(module).count("lm.scale") == 1 and '"lm.scale"(%h)' not in str(module), kept


def test_a_table_that_is_also_the_head_stays() -> None:
    tied = BEFORE.replace('"lm.linear"(%x, %h)', '"lm.linear"(%x, %e)')
    assert_pass(AbsorbScales(), tied, tied.replace('%h = "lm.weight"() {symbol = "h"}', "//"))


def test_the_contract_holds_on_random_modules() -> None:
    assert_contract(AbsorbScales(), modules=2)


def test_the_pipeline_has_a_name() -> None:
    assert find_pipeline("absorbed").passes == ("lift", "absorb-scales")
    assert str(parse_pipeline("absorbed")).endswith("outline,absorb-scales")


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="no option 'with'"):
        parse_pipeline("absorb-scales{with=h}")
