"""Small modules before and after each pass of the pipeline."""

from collections.abc import Callable

import pytest

from ingot.errors import UnsupportedError, UsageError
from ingot.ir import Module

Run = Callable[[str, str], Module]
T4 = "tensor<?x4xf32>"


def step(body: str, result: str = T4) -> str:
    """Return a module whose step computes `body` from `%x`, the embedding `[T, 4]` of tokens."""
    return f"""
func.func @step(%tokens: tensor<?xi32>, %positions: tensor<?xi32>, %batch: !lm.batch) -> {result} {{
  %table = "lm.weight"() {{symbol = "table"}} : () -> tensor<9x4xf32>
  %x = "lm.embedding"(%tokens, %table) : (tensor<?xi32>, tensor<9x4xf32>) -> {T4}
  {body}
}}
"""


def weight(name: str, kind: str) -> str:
    """Return the op that makes the weight `%name`."""
    return f'%{name} = "lm.weight"() {{symbol = "{name}"}} : () -> {kind}\n'


def linear(name: str, x: str, w: str, rows: int, kind: str = "") -> str:
    """Return `%name`, a linear of `x` `[T, 4]` with the weight `w` `[rows, 4]`."""
    stored = kind or f"tensor<{rows}x4xf32>"
    return (
        f'%{name} = "lm.linear"(%{x}, %{w}) {{operandSegmentSizes = array<i32: 1, 1, 0>}}'
        f" : ({T4}, {stored}) -> tensor<?x{rows}xf32>\n"
    )


def binary(name: str, op: str, x: str, y: str) -> str:
    """Return `%name`, an op of two `[T, 4]` activations."""
    return f'%{name} = "lm.{op}"(%{x}, %{y}) : ({T4}, {T4}) -> {T4}\n'


def norm(name: str, x: str, w: str) -> str:
    """Return `%name`, the RMS norm of an activation `[T, 4]`."""
    return (
        f'%{name} = "lm.rms_norm"(%{x}, %{w}) {{eps = 1.0e-6 : f64, heads = 1 : i64}}'
        f" : ({T4}, tensor<4xf32>) -> {T4}\n"
    )


def attention(name: str, x: str) -> str:
    """Return `%name`, the attention of an activation to itself."""
    return (
        f'%{name} = "lm.attention"(%{x}, %{x}, %{x}, %batch) {{layer = 0 : i64, heads = 2 : i64,'
        " kv_heads = 2 : i64, head_dim = 2 : i64, value_dim = 0 : i64, scale = 1.0 : f64,"
        " causal = true, window = 0 : i64, chunk = 0 : i64, softcap = 0.0 : f64,"
        " operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>}"
        f" : ({T4}, {T4}, {T4}, !lm.batch) -> {T4}\n"
    )


def body_of(module: Module) -> list[str]:
    """Return the names of the ops of the step in order, weights left out."""
    lines = []
    for line in str(module.step).splitlines()[1:-1]:
        text = line.strip().partition(" : ")[0].partition(" {")[0].replace('"', "")
        if "lm.weight" not in text:
            lines.append(text.partition(" = ")[2] or text)
    return [line.split("(")[0].split(" %")[0] for line in lines]


def test_canonicalize_cancels_identities_and_merges_equal_ops(run: Run) -> None:
    source = step(
        '%a = "lm.scale"(%x) {factor = 1.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>\n'
        '%b = "lm.slice"(%a) {offset = 0 : i64, size = 4 : i64} : (tensor<?x4xf32>)'
        " -> tensor<?x4xf32>\n"
        '%t = "lm.to_torch"(%b) : (tensor<?x4xf32>) -> !torch.vtensor<[1,?,4],f32>\n'
        '%u = "lm.from_torch"(%t) : (!torch.vtensor<[1,?,4],f32>) -> tensor<?x4xf32>\n'
        + binary("one", "mul", "u", "x")
        + binary("two", "mul", "x", "u")
        + binary("unused", "add", "x", "u")
        + binary("sum", "add", "one", "two")
        + "return %sum : tensor<?x4xf32>"
    )
    assert body_of(run(source, "canonicalize")) == ["lm.embedding", "lm.mul", "lm.add", "return"]


def test_select_rows_sinks_to_after_the_last_attention(run: Run) -> None:
    source = step(
        weight("w", "tensor<4xf32>")
        + weight("head", "tensor<9x4xf32>")
        + attention("a", "x")
        + binary("r", "add", "x", "a")
        + norm("n", "r", "w")
        + linear("logits", "n", "head", 9)
        + "return %logits : tensor<?x9xf32>",
        "tensor<?x9xf32>",
    )
    module = run(source, "select-rows")
    assert body_of(module) == [
        "lm.embedding",
        "lm.attention",
        "lm.select_rows",
        "lm.select_rows",
        "lm.add",
        "lm.rms_norm",
        "lm.linear",
        "return",
    ]
    before = str(module)
    assert str(run(before, "select-rows")) == before


def test_select_rows_stops_at_a_value_that_others_need(run: Run) -> None:
    source = step(
        weight("w", "tensor<4xf32>")
        + norm("n", "x", "w")
        + attention("a", "n")
        + binary("r", "add", "n", "a")
        + "return %r : tensor<?x4xf32>"
    )
    found = body_of(run(source, "select-rows"))
    assert found == [
        "lm.embedding",
        "lm.rms_norm",
        "lm.attention",
        "lm.select_rows",
        "lm.select_rows",
        "lm.add",
        "return",
    ]


def two_linears(bias: bool = False, other: str = "x") -> str:
    second = linear("q", other, "wq", 4)
    if bias:
        second = (
            weight("bias", "tensor<4xf32>") + f'%q = "lm.linear"(%{other}, %wq, %bias)'
            " {operandSegmentSizes = array<i32: 1, 1, 1>}"
            f" : ({T4}, tensor<4x4xf32>, tensor<4xf32>) -> {T4}\n"
        )
    return step(
        weight("wk", "tensor<4x4xf32>")
        + linear("k", "x", "wk", 4)
        + '%s = "lm.scale"(%k) {factor = 2.0 : f64} : (tensor<?x4xf32>) -> tensor<?x4xf32>\n'
        + weight("wq", "tensor<4x4xf32>")
        + second
        + binary("r", "mul", "s", "q")
        + "return %r : tensor<?x4xf32>"
    )


def test_merge_linears_with_one_input(run: Run) -> None:
    module = run(two_linears(), "merge-linears")
    assert body_of(module) == [
        "lm.embedding",
        "lm.concat",
        "lm.linear",
        "lm.slice",
        "lm.slice",
        "lm.scale",
        "lm.mul",
        "return",
    ]
    assert "offset = 4 : i64, size = 4 : i64" in str(module)


@pytest.mark.parametrize("source", [two_linears(bias=True), two_linears(other="s")])
def test_merge_linears_leaves_alone_what_differs_in_bias_or_input(run: Run, source: str) -> None:
    assert "lm.concat" not in str(run(source, "merge-linears"))


def test_merge_linears_joins_biases(run: Run) -> None:
    parts = ""
    for name in "qk":
        parts += weight(f"w{name}", "tensor<4x4xf32>") + weight(f"b{name}", "tensor<4xf32>")
        parts += (
            f'%{name} = "lm.linear"(%x, %w{name}, %b{name})'
            " {operandSegmentSizes = array<i32: 1, 1, 1>}"
            f" : ({T4}, tensor<4x4xf32>, tensor<4xf32>) -> {T4}\n"
        )
    source = step(parts + binary("r", "mul", "q", "k") + "return %r : tensor<?x4xf32>")
    found = body_of(run(source, "merge-linears"))
    assert found[1:4] == ["lm.concat", "lm.concat", "lm.linear"]


def test_fuse_norms_takes_in_the_residual_sum(run: Run) -> None:
    source = step(
        weight("w", "tensor<4xf32>")
        + attention("a", "x")
        + binary("r", "add", "x", "a")
        + norm("n", "r", "w")
        + binary("end", "add", "r", "n")
        + "return %end : tensor<?x4xf32>"
    )
    module = run(source, "fuse-norms")
    assert body_of(module) == [
        "lm.embedding",
        "lm.attention",
        "lm.add_rms_norm",
        "lm.add",
        "return",
    ]


def test_fuse_norms_leaves_a_sum_that_is_read_before_the_norm(run: Run) -> None:
    source = step(
        weight("w", "tensor<4xf32>")
        + binary("r", "add", "x", "x")
        + attention("a", "r")
        + norm("n", "r", "w")
        + binary("end", "add", "a", "n")
        + "return %end : tensor<?x4xf32>"
    )
    assert "lm.add_rms_norm" not in str(run(source, "fuse-norms"))


INT8 = '!lm.quant<tensor<4x4xf32>, "int8">'


def rounding_source(reader: str) -> str:
    return step(
        weight("w", "tensor<4xf32>")
        + weight("q", INT8)
        + weight("k", INT8)
        + weight("f", "tensor<4x4xf32>")
        + norm("n", "x", "w")
        + linear("a", "n", "q", 4, INT8)
        + linear("b", "n", "k", 4, INT8)
        + linear("c", "n", "f", 4)
        + binary("s", "add", "a", reader)
        + "return %s : tensor<?x4xf32>"
    )


def test_round_activations_once_for_integer_weights_only(run: Run) -> None:
    module = run(rounding_source("c"), "round-activations")
    text = str(module)
    assert text.count("lm.round") == 1
    lines = [line for line in text.splitlines() if '"lm.linear"' in line]
    assert ["int8-act" in line for line in lines] == [True, True, False]
    assert str(run(text, "round-activations")) == text


def test_fuse_rounding_where_all_readers_round(run: Run) -> None:
    every = run(rounding_source("b"), "canonicalize,round-activations,fuse-rounding")
    assert "lm.round" not in str(every)
    (line,) = [line for line in str(every).splitlines() if '"lm.rms_norm"' in line]
    assert line.endswith('-> !lm.quant<tensor<?x4xf32>, "int8-act">')
    some = run(rounding_source("c"), "canonicalize,round-activations,fuse-rounding")
    assert "lm.round" in str(some)


def test_round_activations_to_bfloat16_before_such_weights(run: Run) -> None:
    bfloat16 = "tensor<4x4xbf16>"
    source = step(
        weight("w", "tensor<4xf32>")
        + weight("q", bfloat16)
        + weight("f", "tensor<4x4xf32>")
        + norm("n", "x", "w")
        + linear("a", "n", "q", 4, bfloat16)
        + linear("b", "a", "f", 4)
        + "return %b : tensor<?x4xf32>"
    )
    assert "lm.round" not in str(run(source, "round-activations"))
    fused = str(run(source, "round-activations{bfloat16=true},fuse-rounding"))
    assert "lm.round" not in fused
    lines = [line for line in fused.splitlines() if "bf16-act" in line]
    assert ["lm.rms_norm" in line for line in lines] == [True, False]


def test_roundings_to_different_encodings_stay(run: Run) -> None:
    source = step(
        weight("w", "tensor<4xf32>")
        + weight("q", INT8)
        + weight("k", "tensor<4x4xbf16>")
        + norm("n", "x", "w")
        + linear("a", "n", "q", 4, INT8)
        + linear("b", "n", "k", 4, "tensor<4x4xbf16>")
        + binary("s", "add", "a", "b")
        + "return %s : tensor<?x4xf32>"
    )
    text = str(run(source, "round-activations{bfloat16=true},fuse-rounding"))
    assert text.count("lm.round") == 2


def quantized(module: Module) -> dict[str, str]:
    """Return for each weight how its readers get it: the ops between, and the last type."""
    found = {}
    text = str(module)
    for line in text.splitlines():
        if '"lm.weight"' not in line:
            continue
        value, symbol = line.split("=")[0].strip(), line.split('symbol = "')[1].split('"')[0]
        ops = [
            one.split('"lm.')[1].split('"')[0] + ":" + one.rpartition("-> ")[2]
            for one in text.splitlines()
            if f"({value})" in one
        ]
        found[symbol] = ",".join(ops)
    return found


TIED = step(
    weight("stored", '!lm.quant<tensor<4x4xf32>, "int4-g32-min">')
    + weight("plain", "tensor<4x4xbf16>")
    + linear("a", "x", "stored", 4, '!lm.quant<tensor<4x4xf32>, "int4-g32-min">')
    + linear("b", "a", "plain", 4, "tensor<4x4xbf16>")
    + linear("logits", "b", "table", 9)
    + "return %logits : tensor<?x9xf32>",
    "tensor<?x9xf32>",
)


@pytest.mark.parametrize(
    ("options", "table", "plain", "stored"),
    [
        (
            "",
            'quantize:!lm.quant<tensor<9x4xf32>, "int8">',
            'quantize:!lm.quant<tensor<4x4xf32>, "int4-g32">',
            "",
        ),
        ("linear=none,embedding=none", "", "", ""),
        (
            "linear=none,embedding=none,float=float32,requantize=true",
            "",
            "convert:tensor<4x4xf32>",
            "convert:tensor<4x4xf32>",
        ),
        (
            "linear=none,embedding=none,float=bfloat16",
            "convert:tensor<9x4xbf16>",
            "",
            "",
        ),
        (
            "overrides=pla*=int8;table=none",
            "",
            'quantize:!lm.quant<tensor<4x4xf32>, "int8">',
            "",
        ),
        (
            "linear=int8,requantize=true",
            'quantize:!lm.quant<tensor<9x4xf32>, "int8">',
            'quantize:!lm.quant<tensor<4x4xf32>, "int8">',
            "convert:tensor<4x4xf32>",
        ),
    ],
)
def test_quantize_options(run: Run, options: str, table: str, plain: str, stored: str) -> None:
    module = run(TIED, f"quantize{{{options}}}")
    assert quantized(module) == {"table": table, "plain": plain, "stored": stored}
    if "int8,requantize" in options:
        assert str(module).count("lm.quantize") == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("linear=int5", "'int5' is no encoding of weights"),
        ("linear=int8-act", "'int8-act' is no encoding"),
        ("overrides=*.q_proj=int8", r"no weight .* is called \*\.q_proj"),
        ("float=float64", "'float64' is no type of weights"),
        ("embedding=int8,head=int4-g32", "is the embedding, as int8, and the head, as int4-g32"),
    ],
)
def test_quantize_refuses_what_makes_no_sense(run: Run, options: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(TIED, f"quantize{{{options}}}")


def test_raise_refuses_an_unknown_pattern(run: Run) -> None:
    with pytest.raises(UsageError, match="no raising pattern 'norm'"):
        run(TIED, "raise{without=norm}")


def torch_step(ops: str, result: str = "[1,?,4]") -> str:
    """Return a step that computes `ops` in torch, from `%t` to `%r`."""
    kind = result.replace("1,?", "?").strip("[]").replace(",", "x")
    return step(
        '%t = "lm.to_torch"(%x) : (tensor<?x4xf32>) -> !torch.vtensor<[1,?,4],f32>\n'
        "%one = torch.constant.int 1\n%last = torch.constant.int -1\n"
        "%none = torch.constant.none\n%false = torch.constant.bool false\n"
        + ops
        + f'\n%y = "lm.from_torch"(%r) : (!torch.vtensor<{result},f32>) -> tensor<{kind}xf32>\n'
        f"return %y : tensor<{kind}xf32>",
        f"tensor<{kind}xf32>",
    )


V = "!torch.vtensor<[1,?,4],f32>"


def softmax(dim: str) -> str:
    return f"%r = torch.aten.softmax.int %t, {dim}, %none : {V}, !torch.int, !torch.none -> {V}"


def test_outline_moves_a_remainder_to_a_function(run: Run) -> None:
    module = run(torch_step(softmax("%last")), "raise,outline")
    assert body_of(module) == ["lm.embedding", "call @remainder_0", "return"]
    (function,) = [f for f in module.functions if f.name.value != "step"]
    text = str(function)
    assert "private" in text
    assert "torch.aten.softmax.int" in text
    assert text.index("lm.to_torch") < text.index("softmax") < text.index("lm.from_torch")


@pytest.mark.parametrize(
    ("ops", "said"),
    [
        (softmax("%one"), r"aten\.softmax\.int cannot be compiled.*works along the tokens"),
        (
            f"%r = torch.aten.cumsum %t, %one, %none : {V}, !torch.int, !torch.none -> {V}",
            r"aten\.cumsum .*works along the tokens",
        ),
        (
            f"%r = torch.aten.bernoulli %t, %none : {V}, !torch.none -> {V}",
            r"aten\.bernoulli .*has no rule",
        ),
        (
            f"%n = torch.aten.size.int %t, %one : {V}, !torch.int -> !torch.int\n"
            f"%r = torch.aten.div.Scalar %t, %n : {V}, !torch.int -> {V}",
            r"aten\.div\.Scalar .*computes with the number of tokens",
        ),
        (
            "%two = torch.constant.int 2\n"
            f"%u = torch.aten.transpose.int %t, %one, %two : {V}, !torch.int, !torch.int"
            " -> !torch.vtensor<[1,4,?],f32>\n"
            f"%s = torch.aten.matmul %t, %u : {V}, !torch.vtensor<[1,4,?],f32>"
            " -> !torch.vtensor<[1,?,?],f32>\n"
            f"%r = torch.aten.matmul %s, %t : !torch.vtensor<[1,?,?],f32>, {V} -> {V}",
            r"aten\.matmul .*relates tokens to tokens",
        ),
    ],
)
def test_outline_refuses_what_mixes_tokens(run: Run, ops: str, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said) as error:
        run(torch_step(ops), "raise,outline")
    assert "test.mlir:" in error.value.where
