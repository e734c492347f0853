"""Verifiers say what was expected and what was found, where it is."""

import re

import pytest

from ingot.ir import InvalidModuleError, Module, Scale

# What the cases use: tokens, activations of 48 and 16 features, a rounded one, weights, the batch.
OPERANDS = {
    "%t": "tensor<?xi32>",
    "%x": "tensor<?x48xf32>",
    "%y": "tensor<?x16xf32>",
    "%r": '!lm.quant<tensor<?x48xf32>, "int8-act">',
    "%h": "tensor<?x48xbf16>",
    "%w": "tensor<8x48xf32>",
    "%q": '!lm.quant<tensor<8x48xf32>, "int4-g32">',
    "%v": "tensor<48xf32>",
    "%s": "tensor<16xf32>",
    "%f": "tensor<4xf32>",
    "%b": "!lm.batch",
    "%m": "!torch.vtensor<[1,48,?],f32>",
    "%n": "!torch.vtensor<[1,?,48],f32>",
}
ROW, NARROW = OPERANDS["%x"], OPERANDS["%y"]
NORM = "eps = 1.0e-5, heads = 1"
ATTENTION = (
    "layer = 0, heads = 6, kv_heads = 2, head_dim = 8, value_dim = 0, scale = 0.3, causal = true, "
    "window = 0, chunk = 0, softcap = 0.0"
)


def attention(old: str, new: str) -> str:
    assert old in ATTENTION
    return ATTENTION.replace(old, new)


CASES = [
    ("weight", "", 'symbol = ""', "tensor<4xf32>", "needs a name in symbol"),
    ("weight", "", 'symbol = "a"', "tensor<?x4xf32>", "needs known sizes, found tensor<?x4xf32>"),
    ("weight", "", 'symbol = "a"', '!lm.quant<tensor<4x4xf32>, "fp5">', "unknown encoding 'fp5'"),
    ("weight", "", 'symbol = "a"', '!lm.quant<f32, "int8">', "needs a ranked tensor in !lm.quant"),
    ("convert", "%w", "", "tensor<8x48xf32>", "converts tensor<8x48xf32> to itself"),
    ("convert", "%w", "", "tensor<8x48xi32>", "the result to be a tensor of f32, bf16 or f16"),
    ("convert", "%q", "", "tensor<48x8xf32>", "needs the result of shape <8x48>"),
    ("transpose", "%q", "", "tensor<48x8xf32>", "lm.convert it first"),
    ("transpose", "%w", "", "tensor<8x48xf32>", "type tensor<48x8xf32>, found tensor<8x48xf32>"),
    ("transpose", "%v", "", "tensor<48xf32>", "needs w of shape <_x_>, found tensor<48xf32>"),
    ("concat", "%w %q", "", "tensor<16x48xf32>", "part 2 is !lm.quant"),
    ("concat", "%w %w", "", "tensor<8x48xf32>", "type tensor<16x48xf32>"),
    ("quantize", "%w", "", "tensor<8x48xf32>", "makes !lm.quant, found"),
    ("quantize", "%w", "", '!lm.quant<tensor<8x48xf32>, "int8-act">', "is for activations"),
    ("quantize", "%q", "", '!lm.quant<tensor<8x48xf32>, "int8">', "needs w to be a tensor of f32"),
    ("quantize", "%v", "", '!lm.quant<tensor<48xf32>, "int8">', "needs w of 2 dimensions"),
    ("embedding", "%x %w", "", ROW, "needs tokens to be tensor<?xi32>, found tensor<?x48xf32>"),
    ("embedding", "%t %v", "", ROW, "needs table of shape <_x_>"),
    ("embedding", "%t %w", "", NARROW, "needs the result to be tensor<?x48xf32>"),
    ("linear", "%y %w", "", "tensor<?x8xf32>", "needs x of K = 48 features as w is"),
    ("linear", "%x %w", "", "tensor<?x9xf32>", "needs the result to be tensor<?x8xf32>, found"),
    ("linear", "%x %w %v", "", "tensor<?x8xf32>", "needs bias of shape <8>, found tensor<48xf32>"),
    ("linear", "%x %v", "", "tensor<?x8xf32>", "needs w of shape <_x_>"),
    ("linear", "%x %r", "", "tensor<?x8xf32>", "needs a weight, found !lm.quant"),
    ("linear", "%w %w", "", "tensor<?x8xf32>", "needs x to be tensor<?x_xf32> or rounded"),
    ("linear", "%h %w", "", "tensor<?x8xf32>", "found tensor<?x48xbf16>"),
    ("rms_norm", "%x %s", NORM, ROW, "needs w of shape <48>, found tensor<16xf32>"),
    ("rms_norm", "%x %v", "eps = 0.0, heads = 1", ROW, "needs eps above 0, found 0"),
    ("rms_norm", "%x %v", "eps = 1.0e-5, heads = 5", ROW, "features that 5 heads divide, found 48"),
    ("rms_norm", "%x %v", "eps = 1.0e-5, heads = 0", ROW, "needs heads above 0, found 0"),
    ("rms_norm", "%r %v", NORM, ROW, "needs x to be tensor<?x_xf32>, found !lm.quant"),
    ("layer_norm", "%x %s", "eps = 1.0e-5, heads = 1", ROW, "needs w of shape <48>"),
    (
        "layer_norm",
        "%x %v %s",
        "eps = 1.0e-5, heads = 1",
        ROW,
        "needs b of shape <48>, found tensor<16xf32>",
    ),
    (
        "layer_norm",
        "%x %v",
        "eps = 1.0e-5, heads = 1",
        NARROW,
        "needs the result to be tensor<?x48xf32>",
    ),
    (
        "add_rms_norm",
        "%x %y %v",
        "eps = 1.0e-5",
        f"{ROW}, {ROW}",
        "needs residual to be tensor<?x48",
    ),
    ("add_rms_norm", "%x %x %v", "eps = 1.0e-5", f"{ROW}, {NARROW}", "needs out to be tensor<?x48"),
    ("add_rms_norm", "%x %x %v", "eps = 1.0e-5", ROW, "makes sum, out, found 1 results"),
    (
        "add_layer_norm",
        "%x %x %v",
        "eps = 1.0e-5",
        f"{OPERANDS['%r']}, {ROW}",
        "needs sum to be tensor<?x48xf32>, found !lm.quant",
    ),
    (
        "rope",
        "%x %t %s",
        "heads = 6, scale = 1.0, interleaved = false, offset = 0",
        ROW,
        "needs inv_freq of 1 to 4 elements, half of a head's 8 features",
    ),
    (
        "rope",
        "%x %t %f",
        "heads = 7, scale = 1.0, interleaved = false, offset = 0",
        ROW,
        "needs features that 7 heads divide, found 48",
    ),
    (
        "rope",
        "%x %x %f",
        "heads = 6, scale = 1.0, interleaved = false, offset = 0",
        ROW,
        "needs positions to be tensor<?xi32>",
    ),
    (
        "rope",
        "%x %t %f",
        "heads = 6, scale = 1.0, interleaved = 1, offset = 0",
        ROW,
        "needs interleaved to be true or false, found 1",
    ),
    ("attention", "%x %y %y %t", ATTENTION, ROW, "needs batch to be !lm.batch"),
    ("attention", "%x %x %y %b", ATTENTION, ROW, "needs k of 2 heads x 8 = 16 features, found 48"),
    ("attention", "%x %y %x %b", ATTENTION, ROW, "needs v of 2 heads x 8 = 16 features, found 48"),
    (
        "attention",
        "%x %y %y %b",
        attention("kv_heads = 2", "kv_heads = 4"),
        ROW,
        "needs heads that kv_heads divide, found 6 and 4",
    ),
    (
        "attention",
        "%x %y %y %b",
        attention("head_dim = 8", "head_dim = 16"),
        ROW,
        "needs q of 6 heads x 16 = 96 features, found 48",
    ),
    (
        "attention",
        "%x %y %y %b",
        attention("window = 0", "window = -1"),
        ROW,
        "needs window of 0 or more, found -1",
    ),
    (
        "attention",
        "%x %y %y %b",
        attention("layer = 0", "layer = -3"),
        ROW,
        "needs layer of 0 or more, found -3",
    ),
    (
        "attention",
        "%x %y %y %b",
        attention("value_dim = 0", "value_dim = 4"),
        ROW,
        "needs v of 2 heads x 4 = 8 features, found 16",
    ),
    (
        "attention",
        "%x %y %y %b",
        attention("causal = true, window = 0, chunk = 0", "causal = false, window = 0, chunk = 8"),
        ROW,
        "needs causal true where there is a chunk",
    ),
    ("attention", "%x %y %y %b %v", ATTENTION, ROW, "needs sinks of shape <6>"),
    ("attention", "%x %y %y %b", ATTENTION, NARROW, "needs the result of 6 heads x 8 = 48"),
    ("activation", "%x", 'kind = "swish"', ROW, "needs kind to be one of silu, gelu"),
    ("activation", "%x", 'kind = "silu"', NARROW, "needs the result of x's type"),
    (
        "glu",
        "%x %y",
        'kind = "silu"',
        ROW,
        "needs up to be tensor<?x48xf32>, found tensor<?x16xf32>",
    ),
    ("glu", "%x %x", 'kind = "glu"', ROW, "found 'glu'"),
    ("add", "%x %y", "", ROW, "needs y of x's type tensor<?x48xf32> or a vector of 48 elements"),
    ("mul", "%x %s", "", ROW, "needs y of x's type"),
    ("mul", "%r %v", "", ROW, "needs x to be a tensor of f32, bf16 or f16, found !lm.quant"),
    ("scale", "%x", "factor = 2.0", NARROW, "needs the result of x's type"),
    ("slice", "%x", "offset = 40, size = 9", "tensor<?x9xf32>", "columns below 48, found 40 to 49"),
    ("slice", "%x", "offset = -1, size = 9", "tensor<?x9xf32>", "needs offset of 0 or more"),
    ("slice", "%x", "offset = 0, size = 0", "tensor<?x0xf32>", "needs size above 0"),
    ("select_rows", "%x %t", "", ROW, "needs batch to be !lm.batch"),
    ("softcap", "%x", "cap = -1.0", ROW, "needs cap above 0, found -1"),
    ("round", "%x", "", ROW, "makes int8-act, int8-row or bf16-act, found tensor<?x48xf32>"),
    ("round", "%y", "", OPERANDS["%r"], "needs the result of shape <?x16>"),
    ("to_torch", "%x", "", "!torch.vtensor<[1,?,16],f32>", "type !torch.vtensor<[1,?,48],f32>"),
    ("to_torch", "%q", "", "!torch.vtensor<[8,48],f32>", "needs a plain tensor"),
    ("to_torch", "%x", "", "!torch.vtensor", "needs a ranked !torch.vtensor"),
    ("from_torch", "%m", "", ROW, "`[1,?,...]` with the tokens second"),
    ("from_torch", "%n", "", NARROW, "of the result's type !torch.vtensor<[1,?,16],f32>"),
]
SEGMENTS = {"linear": 3, "layer_norm": 3, "add_layer_norm": 4, "concat": 8, "attention": 6}


def module_with(name: str, operands: list[str], attributes: str, results: str) -> str:
    if name in SEGMENTS:
        there = [1] * len(operands) + [0] * (SEGMENTS[name] - len(operands))
        sizes = f"operandSegmentSizes = array<i32: {', '.join(map(str, there))}>"
        attributes = f"{attributes}, {sizes}" if attributes else sizes
    parameters = ", ".join(f"{operand}: {kind}" for operand, kind in OPERANDS.items())
    kinds = ", ".join(OPERANDS[operand] for operand in operands)
    count = results.count(f", {ROW[:6]}") if results != ROW else 0
    made = "%z" if not count else f"%z:{count + 1}"
    return (
        f"func.func @f({parameters}) {{\n"
        f'  {made} = "lm.{name}"({", ".join(operands)}) {{{attributes}}}\n'
        f"      : ({kinds}) -> ({results})\n"
        "  return\n"
        "}\n"
    )


@pytest.mark.parametrize(
    "name, operands, attributes, results, message",
    CASES,
    ids=[f"{index}-{case[0]}" for index, case in enumerate(CASES)],
)
def test_message(name: str, operands: str, attributes: str, results: str, message: str) -> None:
    with pytest.raises(InvalidModuleError, match=re.escape(message)) as caught:
        Module.parse(module_with(name, operands.split(), attributes, results), where="case.mlir")
    assert caught.value.where.startswith("case.mlir:2:")
    assert f"'lm.{name}'" in str(caught.value)
    assert "the verifier of" not in str(caught.value), "a verifier raised instead of reporting"


@pytest.mark.parametrize(
    "name, operands, attributes, results",
    [
        ("linear", "%r %q", "", "tensor<?x8xf32>"),
        ("linear", "%x %q", "", "tensor<?x8xf32>"),
        ("rms_norm", "%x %v", NORM, OPERANDS["%r"]),
        ("glu", "%x %x", 'kind = "silu"', OPERANDS["%r"]),
        ("attention", "%x %y %y %b", ATTENTION, ROW),
        ("rope", "%x %t %f", "heads = 6, scale = 1.0, interleaved = true, offset = 0", ROW),
        ("concat", "%q %q %q", "", '!lm.quant<tensor<24x48xf32>, "int4-g32">'),
        ("mul", "%x %v", "", ROW),
        ("scale", "%w", "factor = 2.0", OPERANDS["%w"]),
        ("from_torch", "%n", "", ROW),
    ],
)
def test_sound_operations_pass(name: str, operands: str, attributes: str, results: str) -> None:
    Module.parse(module_with(name, operands.split(), attributes, results))


def test_a_bug_in_a_verifier_is_reported_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Scale) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(Scale, "check", broken)
    with pytest.raises(InvalidModuleError, match=r"the verifier of 'lm.scale' failed: ZeroDiv"):
        Module.parse(module_with("scale", ["%x"], "factor = 2.0", ROW))
