"""Forms of the same computation that raising must recognise, or leave alone, in small modules."""

from collections.abc import Callable

import pytest
import torch

from ingot.ir import Module
from ingot.passes import Sample, find_pass, parse_pipeline, random_weights, verifying

Run = Callable[[str, str], Module]
V = "!torch.vtensor<[1,?,4],f32>"
W = "!torch.vtensor<[4],f32>"
M = "!torch.vtensor<[4,4],f32>"
R = "!torch.vtensor<[?,4],f32>"
ONE = "!torch.vtensor<[1,?,1],f32>"
INT, FLOAT, NONE, LIST = "!torch.int", "!torch.float", "!torch.none", "!torch.list<int>"


def step(ops: str) -> str:
    """Return a step that computes `%r` from `%x` `[1, T, 4]` with weights `%w`, `%b` and `%m`."""
    return f"""
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch)
    -> tensor<?x4xf32> {{
  %table = "lm.weight"() {{symbol = "table"}} : () -> tensor<9x4xf32>
  %e = "lm.embedding"(%tokens, %table) : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x4xf32>
  %x = "lm.to_torch"(%e) : (tensor<?x4xf32>) -> {V}
  %w0 = "lm.weight"() {{symbol = "w"}} : () -> tensor<4xbf16>
  %w1 = "lm.convert"(%w0) : (tensor<4xbf16>) -> tensor<4xf32>
  %w = "lm.to_torch"(%w1) : (tensor<4xf32>) -> {W}
  %b0 = "lm.weight"() {{symbol = "b"}} : () -> tensor<4xf32>
  %b = "lm.to_torch"(%b0) : (tensor<4xf32>) -> {W}
  %m0 = "lm.weight"() {{symbol = "m"}} : () -> tensor<4x4xf32>
  %m = "lm.to_torch"(%m0) : (tensor<4x4xf32>) -> {M}
  %zero = torch.constant.int 0
  %one = torch.constant.int 1
  %two = torch.constant.int 2
  %four = torch.constant.int 4
  %last = torch.constant.int -1
  %eps = torch.constant.float 1.000000e-06
  %half = torch.constant.float 5.000000e-01
  %none = torch.constant.none
  %true = torch.constant.bool true
  %false = torch.constant.bool false
  {ops}
  %y = "lm.from_torch"(%r) : ({V}) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}}
"""


def mean_square_norm(square: str, scale: str, normed: str = "%x, %root") -> str:
    return f"""
  {square}
  %dims = torch.prim.ListConstruct %two : ({INT}) -> {LIST}
  %mean = torch.aten.mean.dim %square, %dims, %true, %none
      : {V}, {LIST}, !torch.bool, {NONE} -> {ONE}
  %shift = torch.aten.add.Scalar %mean, %eps, %one : {ONE}, {FLOAT}, {INT} -> {ONE}
  %root = torch.aten.rsqrt %shift : {ONE} -> {ONE}
  %n = torch.aten.mul.Tensor {normed} : {V if normed[1] == "x" else ONE},
      {ONE if normed[1] == "x" else V} -> {V}
  {scale}
"""


POWER = f"%square = torch.aten.pow.Tensor_Scalar %x, %two : {V}, {INT} -> {V}"
TIMES = f"%square = torch.aten.mul.Tensor %x, %x : {V}, {V} -> {V}"
RIGHT = f"%r = torch.aten.mul.Tensor %n, %w : {V}, {W} -> {V}"
LEFT = f"%r = torch.aten.mul.Tensor %w, %n : {W}, {V} -> {V}"
FLAT = f"""
  %sizes = torch.prim.ListConstruct %last, %four : ({INT}, {INT}) -> {LIST}
  %rows = torch.aten.view %x, %sizes : {V}, {LIST} -> {R}
"""
BACK = f"""
  %shape = torch.prim.ListConstruct %one, %last, %four : ({INT}, {INT}, {INT}) -> {LIST}
  %r = torch.aten.view %p, %shape : {R}, {LIST} -> {V}
"""
TRANSPOSED = f"%t = torch.aten.transpose.int %m, %zero, %one : {M}, {INT}, {INT} -> {M}\n"

RAISED = {
    "norm, weight on the right": (mean_square_norm(POWER, RIGHT), ["rms_norm"]),
    "norm, weight on the left": (mean_square_norm(POWER, LEFT), ["rms_norm"]),
    "norm, square by product": (mean_square_norm(TIMES, LEFT), ["rms_norm"]),
    "norm, root first": (mean_square_norm(POWER, LEFT, "%root, %x"), ["rms_norm"]),
    "linear": (
        f"%r = torch.aten.linear %x, %m, %b : {V}, {M}, {W} -> {V}",
        ["linear"],
    ),
    "mm": (FLAT + f"%p = torch.aten.mm %rows, %m : {R}, {M} -> {R}" + BACK, ["linear"]),
    "mm by a transposed weight": (
        FLAT + TRANSPOSED + f"%p = torch.aten.mm %rows, %t : {R}, {M} -> {R}" + BACK,
        ["linear"],
    ),
    "matmul": (f"%r = torch.aten.matmul %x, %m : {V}, {M} -> {V}", ["linear"]),
    "layer norm without bias": (
        f"%size = torch.prim.ListConstruct %four : ({INT}) -> {LIST}\n"
        f"%r = torch.aten.layer_norm %x, %size, %w, %none, %eps, %false"
        f" : {V}, {LIST}, {W}, {NONE}, {FLOAT}, !torch.bool -> {V}",
        ["layer_norm"],
    ),
    "gated unit": (
        f"%g = torch.aten.gelu %x, %tanh : {V}, !torch.str -> {V}\n"
        f"%r = torch.aten.mul.Tensor %x, %g : {V}, {V} -> {V}",
        ["glu"],
    ),
    "parameter and constant": (
        f"%s = torch.aten.mul.Scalar %x, %half : {V}, {FLOAT} -> {V}\n"
        f"%r = torch.aten.add.Tensor %b, %s, %one : {W}, {V}, {INT} -> {V}",
        ["scale", "add"],
    ),
}

LEFT_ALONE = {
    "a norm of one value times another": mean_square_norm(
        f"%o = torch.aten.neg %x : {V} -> {V}\n"
        f"%square = torch.aten.pow.Tensor_Scalar %o, %two : {V}, {INT} -> {V}",
        LEFT,
    ),
    "a sum with a factor": (
        f"%o = torch.aten.neg %x : {V} -> {V}\n"
        f"%r = torch.aten.add.Tensor %x, %o, %two : {V}, {V}, {INT} -> {V}"
    ),
    "a scaled product": (
        FLAT
        + f"%p = torch.aten.addmm %b, %rows, %m, %one, %two : {W}, {R}, {M}, {INT}, {INT} -> {R}"
        + BACK
    ),
    "a literal": (
        f"%v = torch.vtensor.literal(dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>) : {W}\n"
        f"%r = torch.aten.div.Tensor %x, %v : {V}, {W} -> {V}"
    ),
    "a number of tokens that only shapes": (
        f"%n = torch.aten.size.int %x, %one : {V}, {INT} -> {INT}\n"
        f"%k = torch.aten.exp %x : {V} -> {V}\n"
        f"%shape = torch.prim.ListConstruct %one, %n, %two, %two"
        f" : ({INT}, {INT}, {INT}, {INT}) -> {LIST}\n"
        f"%h = torch.aten.view %k, %shape : {V}, {LIST} -> !torch.vtensor<[1,?,2,2],f32>\n"
        f"%s = torch.aten.softmax.int %h, %last, %none"
        f" : !torch.vtensor<[1,?,2,2],f32>, {INT}, {NONE} -> !torch.vtensor<[1,?,2,2],f32>\n"
        f"%back = torch.prim.ListConstruct %one, %n, %four : ({INT}, {INT}, {INT}) -> {LIST}\n"
        f"%r = torch.aten.view %s, %back : !torch.vtensor<[1,?,2,2],f32>, {LIST} -> {V}"
    ),
}

SAMPLE = Sample(torch.tensor([3, 8, 0, 5, 1]), (0, 2, 5))


def checked(source: str, pipeline: str) -> str:
    """Return the step after the passes of `pipeline`, each of which must keep its contract."""
    module = Module.parse(source, "test.mlir")
    weights = random_weights(module)
    parse_pipeline(pipeline).run(module, verifying(weights, SAMPLE))
    return str(module.step)


@pytest.mark.parametrize("case", RAISED)
def test_forms_that_are_raised(case: str) -> None:
    ops, expected = RAISED[case]
    text = checked(step('%tanh = torch.constant.str "tanh"\n' + ops), "raise")
    names = [part.split('"')[0] for part in text.split('"lm.')[1:]]
    assert "torch" not in text
    assert [n for n in names if n not in ("weight", "embedding", "transpose")] == expected


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_forms_that_become_a_remainder(case: str) -> None:
    raised = checked(step(LEFT_ALONE[case]), "raise")
    assert "torch.aten" in raised
    outlined = checked(step(LEFT_ALONE[case]), "raise,outline")
    assert "torch" not in outlined
    assert "call @remainder_0" in outlined


def test_weights_are_taken_as_stored() -> None:
    text = checked(step(RAISED["norm, weight on the left"][0]), "raise")
    assert "tensor<4xbf16>" in text
    assert "lm.convert" not in text


def test_outline_alone_keeps_a_module_that_is_all_torch() -> None:
    source = step(RAISED["norm, weight on the left"][0])
    assert "call @remainder_0" in checked(source, "outline")


def test_an_outlined_module_is_read_back() -> None:
    module = Module.parse(step(LEFT_ALONE["a literal"]))
    parse_pipeline("raise,outline").run(module)
    assert str(Module.parse(str(module))) == str(module)
    assert find_pass("outline").description().startswith("Move each")
