"""Arrangements of what a linear makes become rows of its weight, where nothing else needs it."""

import re

import pytest
import torch

from ingot.ir import Module
from ingot.passes import Sample, parse_pipeline, random_weights, verifying

SAMPLE = Sample(torch.tensor([3, 8, 0, 5, 1]), (0, 2, 5))
ROW = "tensor<?x6xf32>"
ARRANGED = (
    '"lm.arrange"(%m) {{heads = 2 : i64, pieces = "0 {0} 9 1 3",'
    " operandSegmentSizes = array<i32: 1, 0, 0, 0>}} : (tensor<?x18xf32>) -> tensor<?x6xf32>"
)
FUSED = "\n".join(f"%{name} = {ARRANGED.format(3 * i)}" for i, name in enumerate("qkv"))
AGAIN = re.sub(r"%([qkv]) =", r"%\g<1>2 =", FUSED)
SLICED = '%v = "lm.slice"(%m) {offset = 12 : i64, size = 6 : i64} : (tensor<?x18xf32>) -> ' + ROW


def step(ops: str, result: str) -> str:
    """Return a step that computes `result` `[T, 6]` from `%m`, a linear with 18 outputs."""
    return f"""
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch) -> {ROW} {{
  %table = "lm.weight"() {{symbol = "table"}} : () -> tensor<9x5xf32>
  %x = "lm.embedding"(%tokens, %table) : (tensor<?xi32>, tensor<9x5xf32>) -> tensor<?x5xf32>
  %w = "lm.weight"() {{symbol = "w"}} : () -> tensor<18x5xf32>
  %b = "lm.weight"() {{symbol = "b"}} : () -> tensor<18xf32>
  %m = "lm.linear"(%x, %w, %b) {{operandSegmentSizes = array<i32: 1, 1, 1>}}
    : (tensor<?x5xf32>, tensor<18x5xf32>, tensor<18xf32>) -> tensor<?x18xf32>
  {ops}
  return {result} : {ROW}
}}"""


def added(*names: str) -> str:
    first, *others = names
    lines = []
    for index, name in enumerate(others):
        lines.append(f'%s{index} = "lm.add"({first}, {name}) : ({ROW}, {ROW}) -> {ROW}')
        first = f"%s{index}"
    return "\n".join(lines)


def ops_after(source: str, pipeline: str) -> list[str]:
    module = Module.parse(source, "test.mlir")
    parse_pipeline(pipeline).run(module, verifying(random_weights(module), SAMPLE))
    return re.findall(r'"lm\.(\w+)"', str(module.step))


def test_a_fused_projection_of_heads_becomes_linears_that_merge_again() -> None:
    source = step(f"{FUSED}\n{added('%q', '%k', '%v')}", "%s1")
    names = ops_after(source, "fold-arrangements")
    assert names.count("linear") == 3
    assert names.count("arrange_rows") == 6
    assert "arrange" not in names
    merged = ops_after(source, "fold-arrangements,merge-linears")
    assert merged.count("linear") == 1
    assert merged.count("slice") == 3


def test_a_slice_beside_an_arrangement_takes_its_own_rows() -> None:
    first = FUSED.splitlines()[0]
    names = ops_after(step(f"{first}\n{SLICED}\n{added('%q', '%v')}", "%s0"), "fold-arrangements")
    assert names.count("linear") == 2
    assert "slice" not in names


LEFT = {
    "slices alone": (SLICED, "%v"),
    "what is repeated": (
        f"{FUSED}\n{AGAIN}\n{added('%q', '%k', '%v', '%q2', '%k2', '%v2')}",
        "%s4",
    ),
    "what something else reads": (
        f'{FUSED}\n%n = "lm.activation"(%m) {{kind = "relu"}} : (tensor<?x18xf32>)'
        " -> tensor<?x18xf32>\n"
        '%o = "lm.slice"(%n) {offset = 0 : i64, size = 6 : i64} : (tensor<?x18xf32>) -> '
        f"{ROW}\n{added('%q', '%o')}",
        "%s0",
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_a_linear_stays_whole(case: str) -> None:
    ops, result = LEFT[case]
    names = ops_after(step(ops, result), "fold-arrangements")
    assert names.count("linear") == 1
    assert "arrange_rows" not in names
