"""Verifiers of the operations between devices say what was expected and what was found."""

import re

import pytest

from ingot.ir import InvalidModuleError, Module

OPERANDS = {
    "%t": "tensor<?xi32>",
    "%x": "tensor<?x48xf32>",
    "%y": "tensor<?x16xf32>",
    "%r": '!lm.quant<tensor<?x96xf32>, "int8-act">',
    "%w": "tensor<8x48xf32>",
    "%q": '!lm.quant<tensor<8x128xf32>, "int4-g32">',
    "%i": "tensor<?x2xi32>",
    "%p": "tensor<?x2xf32>",
    "%b": "!lm.batch",
}
X, W, R = OPERANDS["%x"], OPERANDS["%w"], OPERANDS["%r"]
TP = 'axis = "tp", size = 4'
SHARD = f"{TP}, parts = 4, dim = 0, blocks = 1"
EP = 'axis = "ep", size = 4, experts = 8'
PART = (
    "layer = 0, heads = 6, kv_heads = 2, head_dim = 8, value_dim = 0, scale = 0.3, causal = true, "
    'window = 0, chunk = 0, softcap = 0.0, axis = "cp", size = 2, page_tokens = 16'
)
SENT = f"({X}, tensor<?x2xi32>, tensor<?x2xf32>)"


def changed(attributes: str, **changes: str) -> str:
    for name, value in changes.items():
        attributes, count = re.subn(rf"\b{name} = [^,]+", f"{name} = {value}", attributes)
        assert count == 1, name
    return attributes


CASES = [
    ("all_reduce", "%x", 'axis = "xp", size = 4', X, "one of dp, tp, pp, ep, cp, found 'xp'"),
    ("all_reduce", "%x", 'axis = "tp", size = 0', X, "needs size above 0, found 0"),
    ("all_reduce", "%r", TP, R, "needs x to be tensor<?x_xf32>, found !lm.quant"),
    ("all_reduce", "%x", TP, "tensor<?x16xf32>", "needs the result of x's type"),
    ("all_reduce", "%x", f'{TP}, dtype = "int8"', X, "a dtype of float32, bfloat16, found int8"),
    (
        "all_gather",
        "%r",
        f'{changed(TP, size="2")}, dim = 0, dtype = "bfloat16"',
        R,
        "needs x to be tensor<?x_xf32>, found !lm.quant",
    ),
    ("all_gather", "%x", f"{TP}, dim = 2", X, "needs dim of 0 (rows) or 1 (columns), found 2"),
    ("all_gather", "%w", f"{TP}, dim = 0", W, "needs x to be tensor<?x_xf32> or rounded"),
    ("all_gather", "%x", f"{TP}, dim = 1", X, "type tensor<?x192xf32>, found tensor<?x48xf32>"),
    ("reduce_scatter", "%x", f"{TP}, dim = 1", X, "the result to be tensor<?x12xf32>"),
    (
        "reduce_scatter",
        "%x",
        f"{changed(TP, size='5')}, dim = 1",
        X,
        "cannot part 48 columns among 5 devices",
    ),
    ("shard", "%b", SHARD, "!lm.batch", "needs x to be a ranked tensor or !lm.quant"),
    ("shard", "%w", changed(SHARD, dim="2"), W, "needs dim below 2, found 2"),
    ("shard", "%w", changed(SHARD, parts="3"), W, "a size that parts divide, found 4 and 3"),
    ("shard", "%w", changed(SHARD, parts="0"), W, "needs parts above 0, found 0"),
    ("shard", "%w", SHARD, W, "needs the result of the part's type tensor<2x48xf32>"),
    (
        "shard",
        "%w",
        changed(SHARD, blocks="4"),
        W,
        "cannot cut dimension 0 of tensor<8x48xf32> into 4 parts in each of 4 blocks",
    ),
    ("shard", "%x", changed(SHARD, blocks="2"), X, "cannot part tokens in 2 blocks"),
    (
        "shard",
        "%q",
        changed(SHARD, dim="1", blocks="2"),
        OPERANDS["%q"],
        "cannot cut x into parts of 16 columns: int4-g32 keeps 32 together",
    ),
    ("shard", "%r", changed(SHARD, dim="1"), R, "parts of 24 columns: int8-act keeps 32"),
    ("local_ids", "%x", f"{TP}, rows = 3", OPERANDS["%t"], "needs ids to be tensor<?xi32>"),
    ("local_ids", "%t", f"{TP}, rows = 0", OPERANDS["%t"], "needs rows above 0"),
    ("dispatch", "%x %i %p", changed(EP, experts="6"), SENT, "cannot part 6 experts among 4"),
    ("dispatch", "%x %t %p", EP, SENT, "needs indices to be tensor<?x_xi32>"),
    ("dispatch", "%x %i %y", EP, SENT, "needs weights to be tensor<?x2xf32>"),
    ("dispatch", "%y %i %p", EP, SENT, "needs a result of its operand's type"),
    ("combine", "%x %p", EP, X, "needs indices to be tensor<?x_xi32>"),
    ("combine", "%x %i", EP, "tensor<?x16xf32>", "the result to be tensor<?x48xf32>"),
    ("partial_attention", "%x %y %y %b", PART, f"({X}, {X})", "needs lse to be tensor<?x6xf32>"),
    (
        "partial_attention",
        "%x %y %y %b",
        changed(PART, page_tokens="0"),
        f"({X}, tensor<?x6xf32>)",
        "needs page_tokens above 0",
    ),
    (
        "partial_attention",
        "%x %x %y %b",
        PART,
        f"({X}, tensor<?x6xf32>)",
        "needs k of 2 heads x 8 = 16 features, found 48",
    ),
    ("merge_attention", "%x %p", f"{TP}, heads = 2", OPERANDS["%y"], "the result of y's type"),
    ("merge_attention", "%x %p", f"{TP}, heads = 3", X, "needs lse to be tensor<?x3xf32>"),
    ("merge_attention", "%x %p", f"{TP}, heads = 5", X, "features that 5 heads divide, found 48"),
    ("send_recv", "%x", 'axis = "pp", stage = 0', X, "needs stage above 0"),
    ("send_recv", "%x", 'axis = "tp", stage = 1', X, "needs axis pp, along which layers lie"),
    ("send_recv", "%w", 'axis = "pp", stage = 1', W, "needs x to be tensor<?x_xf32> or rounded"),
]


EXCHANGES = ("all_reduce", "all_gather", "reduce_scatter")


def module_with(name: str, operands: list[str], attributes: str, results: str) -> str:
    if name in EXCHANGES and "dtype" not in attributes:
        attributes += ', dtype = "float32"'
    if name == "partial_attention":
        attributes += ", operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>"
    parameters = ", ".join(f"{operand}: {kind}" for operand, kind in OPERANDS.items())
    kinds = ", ".join(OPERANDS[operand] for operand in operands)
    count = ":3" if name == "dispatch" else ":2" if name == "partial_attention" else ""
    return (
        f"func.func @f({parameters}) {{\n"
        f'  %0{count} = "lm.{name}"({", ".join(operands)}) {{{attributes}}}\n'
        f"      : ({kinds}) -> {results}\n"
        "  return\n}"
    )


@pytest.mark.parametrize("name, operands, attributes, results, message", CASES)
def test_message(name: str, operands: str, attributes: str, results: str, message: str) -> None:
    with pytest.raises(InvalidModuleError, match=re.escape(message)) as caught:
        Module.parse(module_with(name, operands.split(), attributes, results), where="case.mlir")
    assert caught.value.where.startswith("case.mlir:2:")
    assert f"'lm.{name}'" in str(caught.value)
    assert "the verifier of" not in str(caught.value), "a verifier raised instead of reporting"


@pytest.mark.parametrize(
    "name, operands, attributes, results",
    [
        ("all_reduce", "%x", TP, X),
        ("all_gather", "%i", f"{TP}, dim = 0", "tensor<?x2xi32>"),
        ("all_gather", "%r", f"{changed(TP, size='2')}, dim = 1", R.replace("96", "192")),
        ("reduce_scatter", "%x", f"{TP}, dim = 0", X),
        ("shard", "%q", changed(SHARD, dim="1"), OPERANDS["%q"].replace("128", "32")),
        ("shard", "%x", SHARD, X),
        ("dispatch", "%r %i %p", EP, SENT.replace(X, R)),
        ("combine", "%x %i", EP, X),
        ("partial_attention", "%x %y %y %b", PART, f"({X}, tensor<?x6xf32>)"),
        ("send_recv", "%r", 'axis = "pp", stage = 3', R),
    ],
)
def test_sound_operations_pass(name: str, operands: str, attributes: str, results: str) -> None:
    Module.parse(module_with(name, operands.split(), attributes, results))
