"""The readable form: names that say what a value is, weights inlined, rows told from tokens."""

import pytest

from ingot.ir import Module, readable
from ingot.ir.printing.names import layer_of

MODULE = """
func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x8xf32> {
  %e = "lm.weight"() {symbol = "embed.weight"} : () -> tensor<8x4xf32>
  %e8 = "lm.quantize"(%e) : (tensor<8x4xf32>) -> !lm.quant<tensor<8x4xf32>, "int8">
  %x = "lm.embedding"(%t, %e8) : (tensor<?xi32>, !lm.quant<tensor<8x4xf32>, "int8">)
      -> tensor<?x4xf32> loc("embed"("model.py":3:0))
  %r = "lm.scale"(%x) {factor = 0.5 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>
      loc("layers.7.attn"("model.py":5:0))
  %n = "lm.weight"() {symbol = "layers.7.norm.weight"} : () -> tensor<4xbf16>
  %sum, %y = "lm.add_rms_norm"(%x, %r, %n) {eps = 1.000000e-05 : f64}
      : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<4xbf16>) -> (tensor<?x4xf32>, tensor<?x4xf32>)
      loc(fused["layers.7.norm"("model.py":6:0), "layers.7"("model.py":9:0)])
  %s = "lm.select_rows"(%y, %b) : (tensor<?x4xf32>, !lm.batch) -> tensor<?x4xf32>
      loc("head"("model.py":11:0))
  %l = "lm.linear"(%s, %e8) {operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<?x4xf32>, !lm.quant<tensor<8x4xf32>, "int8">) -> tensor<?x8xf32>
      loc("head"("model.py":11:0))
  return %l : tensor<?x8xf32>
}
"""

READABLE = """\
step(%tokens : i32 [T], %positions : i32 [T], %batch : batch) -> [R, 8] {
  %embed = lm.embedding %tokens, quantize(@embed.weight : [8, 4]) : int8 [8, 4] -> [T, 4]

  // layers.7
  %embed_scaled.7 = lm.scale %embed {factor=0.5} -> [T, 4]
  %sum.7, %norm.7 = lm.add_rms_norm %embed, %embed_scaled.7, @layers.7.norm.weight : bf16 [4] \
{eps=1e-05} -> [T, 4], [T, 4]

  %norm_selected = lm.select_rows %norm.7, %batch -> [R, 4]
  %head = lm.linear %norm_selected, quantize(@embed.weight : [8, 4]) : int8 [8, 4] -> [R, 8]
  return %head
}
"""


def test_one_operation_a_line() -> None:
    assert readable(Module.parse(MODULE)) == READABLE


def test_locations_are_comments_at_the_end() -> None:
    lines = readable(Module.parse(MODULE), locations=True).splitlines()
    (norm,) = [line for line in lines if "lm.add_rms_norm" in line]
    assert norm.endswith("  // layers.7.norm (model.py:6) and 1 more")


def test_names_stay_when_weights_are_encoded() -> None:
    """So that the difference of two stages shows what changed, and nothing else."""
    plain = MODULE.replace("%e8)", "%e)").replace(
        '!lm.quant<tensor<8x4xf32>, "int8">', "tensor<8x4xf32>"
    )
    plain = plain.replace("%e8,", "%e,").replace("(%t, %e8)", "(%t, %e)")
    plain = "\n".join(line for line in plain.splitlines() if "lm.quantize" not in line)
    text = readable(Module.parse(plain))
    assert text == READABLE.replace("quantize(@embed.weight : [8, 4]) : int8", "@embed.weight :")


def test_functions_that_the_step_calls_follow() -> None:
    module = Module.parse(
        """
        func.func private @extra(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
          %0 = "lm.to_torch"(%x) : (tensor<?x4xf32>) -> !torch.vtensor<[1,?,4],f32>
          %two = torch.constant.float 2.000000e+00
          %1 = torch.aten.mul.Scalar %0, %two
              : !torch.vtensor<[1,?,4],f32>, !torch.float -> !torch.vtensor<[1,?,4],f32>
          %2 = "lm.from_torch"(%1) : (!torch.vtensor<[1,?,4],f32>) -> tensor<?x4xf32>
          return %2 : tensor<?x4xf32>
        }
        func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x4xf32> {
          %e = "lm.weight"() {symbol = "e"} : () -> tensor<9x4xf32>
          %x = "lm.embedding"(%t, %e) : (tensor<?xi32>, tensor<9x4xf32>) -> tensor<?x4xf32>
          %y = call @extra(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
          return %y : tensor<?x4xf32>
        }
        """
    )
    step, extra = readable(module).split("func ")
    assert "%extra = call @extra %embedding -> [T, 4]" in step
    assert extra.startswith("extra(%arg0 : [T, 4]) -> [T, 4] {")
    assert "%mul = torch.aten.mul.Scalar %to_torch, 2.000000e+00 -> [1, T, 4]" in extra


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("model.layers.12.mlp.up_proj", "model.layers.12"),
        ("h.0", "h.0"),
        ("model.norm2", ""),
        ("", ""),
        ("0.weight", "0"),
    ],
)
def test_layers_are_what_is_numbered(module: str, layer: str) -> None:
    assert layer_of(module) == layer
