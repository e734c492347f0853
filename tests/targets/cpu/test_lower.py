"""Lowering: what becomes a launch and what a view, which launches wait, what is packed once."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from ingot.errors import UnsupportedError
from ingot.ir import Module
from ingot.targets import ModelFacts, Program
from ingot.targets.cpu.lower import lower
from ingot.targets.cpu.plan import KvDtype

LAYER = """
func.func @step(%t: tensor<?xi32>, %p: tensor<?xi32>, %b: !lm.batch) -> tensor<?x40xf32> {
  %table = "lm.weight"() {symbol = "embed.weight"} : () -> tensor<40x64xf32>
  %f = "lm.weight"() {symbol = "inv_freq"} : () -> tensor<16xf32>
  %w = "lm.weight"() {symbol = "qkv.weight"} : () -> tensor<128x64xf32>
  %x = "lm.embedding"(%t, %table) : (tensor<?xi32>, tensor<40x64xf32>) -> tensor<?x64xf32>
  %m = "lm.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>}
    : (tensor<?x64xf32>, tensor<128x64xf32>) -> tensor<?x128xf32>
  %q = "lm.slice"(%m) {offset = 0 : i64, size = 64 : i64} : (tensor<?x128xf32>) -> tensor<?x64xf32>
  %k = "lm.slice"(%m) {offset = 64 : i64, size = 32 : i64} : (tensor<?x128xf32>) -> tensor<?x32xf32>
  %v = "lm.slice"(%m) {offset = 96 : i64, size = 32 : i64} : (tensor<?x128xf32>) -> tensor<?x32xf32>
  %qr = "lm.rope"(%q, %p, %f) {heads = 2 : i64, scale = 1.0 : f64, interleaved = false,
    offset = 0 : i64}
    : (tensor<?x64xf32>, tensor<?xi32>, tensor<16xf32>) -> tensor<?x64xf32>
  %kr = "lm.rope"(%k, %p, %f) {heads = 1 : i64, scale = 1.0 : f64, interleaved = false,
    offset = 0 : i64}
    : (tensor<?x32xf32>, tensor<?xi32>, tensor<16xf32>) -> tensor<?x32xf32>
  %a = "lm.attention"(%qr, %kr, %v, %b) {layer = 0 : i64, heads = 2 : i64, kv_heads = 1 : i64,
    head_dim = 32 : i64, value_dim = 0 : i64, scale = 0.25 : f64, causal = true,
    window = 0 : i64, chunk = 0 : i64, softcap = 0.0 : f64,
    operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>}
    : (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>, !lm.batch) -> tensor<?x64xf32>
  %s = "lm.select_rows"(%a, %b) : (tensor<?x64xf32>, !lm.batch) -> tensor<?x64xf32>
  %logits = "lm.linear"(%s, %table) {operandSegmentSizes = array<i32: 1, 1, 0>}
    : (tensor<?x64xf32>, tensor<40x64xf32>) -> tensor<?x40xf32>
  return %logits : tensor<?x40xf32>
}
"""


def lowered(text: str, kv_dtype: KvDtype = "float32") -> tuple[Program, dict[str, Any]]:
    program = lower(Module.parse(text), ModelFacts(vocab_size=40, max_positions=128), kv_dtype)
    return program, json.loads(program.plan.text())


def launch(plan: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [one for one in plan["launches"] if re.fullmatch(rf"\d+\.{kind}", one["name"])]
    return dict(found)


def kinds(plan: dict[str, Any]) -> list[str]:
    return [symbol_of(one).split("_k")[0] for one in plan["launches"]]


def symbol_of(one: dict[str, Any]) -> str:
    """The default kernel for one row."""
    symbols = one["kernels"][0][1]
    return str(symbols if isinstance(symbols, str) else symbols[0])


def buffers_of(one: dict[str, Any]) -> Sequence[list[Any]]:
    return [slot for slot in one["slots"] if slot[0] == "buffer"]


def test_a_layer_becomes_these_launches() -> None:
    _, plan = lowered(LAYER)
    names = [one["name"].split(".")[1] for one in plan["launches"]]
    assert names == [
        "embedding",
        "linear",
        "rope_table",
        "rope",
        "attention",  # the write of keys and values
        "attention",
        "select_rows",
        "linear",
    ]


def test_slices_are_views_and_queries_are_rotated_in_place() -> None:
    _, plan = lowered(LAYER)
    merged = buffers_of(plan["launches"][1])[-1]
    rope = launch(plan, "rope")
    assert buffers_of(rope)[0] == merged == buffers_of(rope)[-1]
    write = plan["launches"][4]
    key, value, _ = buffers_of(write)
    assert key == ["buffer", merged[1], 4 * 64] and value == ["buffer", merged[1], 4 * 96]
    assert ["int", 4 * 128] in write["slots"]


def test_keys_are_rotated_while_they_are_written() -> None:
    program, plan = lowered(LAYER)
    assert "rope" in symbol_of(plan["launches"][4])
    assert sum(kernel.name.startswith("rope_table") for kernel in program.kernels) == 1


def test_launches_wait_only_for_what_they_read() -> None:
    _, plan = lowered(LAYER)
    waits = {one["name"]: one["barrier"] for one in plan["launches"]}
    assert list(waits.values()) == [True, False, True, False, True, True, True, True]


def test_a_tied_table_is_packed_once_and_read_whole_for_a_token() -> None:
    program, _ = lowered(LAYER)
    (table,) = [weight for weight in program.weights if weight.name == "embed.weight"]
    assert table.packing == "f32" and table.num_bytes == 48 * 64 * 4
    assert table.step_bytes == table.num_bytes


def test_rows_of_logits_are_counted_apart_from_tokens() -> None:
    _, plan = lowered(LAYER)
    assert plan["launches"][-1]["rows"] == "rows"
    assert ["field", "rows"] in plan["launches"][-1]["slots"]
    assert plan["buffers"][plan["logits"]]["rows"] == "rows"
    assert ["input", "row_ids"] in launch(plan, "select_rows")["slots"]


@pytest.mark.parametrize(
    ("kv_dtype", "page"),
    [("float32", 2 * 16 * 32 * 4), ("bfloat16", 2 * 16 * 32 * 2), ("int8", 2 * 16 * 32 + 128)],
)
def test_the_cache_is_sized_by_its_type(kv_dtype: KvDtype, page: int) -> None:
    _, plan = lowered(LAYER, kv_dtype)
    assert plan["kv_cache"] == {
        "dtype": kv_dtype,
        "layers": [
            {"layer": 0, "kv_heads": 1, "head_dim": 32, "value_dim": 32, "bytes_per_page": page}
        ],
    }


SECOND = """  %a2 = "lm.attention"(%qr, %kr, %v, %b) {layer = 3 : i64, heads = 2 : i64,
    kv_heads = 1 : i64, head_dim = 32 : i64, value_dim = 0 : i64, scale = 0.25 : f64, causal = true,
    window = 8 : i64, chunk = 0 : i64, softcap = 0.0 : f64,
    operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>}
    : (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>, !lm.batch) -> tensor<?x64xf32>
  %sum = "lm.add"(%a, %a2) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
"""


def with_second(second: str) -> str:
    """Return a layer with another attention, to the sum of both."""
    select = '  %s = "lm.select_rows"(%a, %b)'
    assert select in LAYER
    return LAYER.replace(select, second + select.replace("%a,", "%sum,"))


def test_layers_that_share_keys_and_values_share_a_pool() -> None:
    _, plan = lowered(with_second(SECOND))
    assert [one["layer"] for one in plan["kv_cache"]["layers"]] == [0]
    pooled = [one for one in plan["launches"] if ["kv", 0] in one["slots"]]
    assert [kind.split("_")[0] for kind in kinds({"launches": pooled})] == [
        "kv",
        *["attention"] * 2,
    ]


OTHER = """  %kv = "lm.slice"(%m) {offset = 64 : i64, size = 64 : i64}
    : (tensor<?x128xf32>) -> tensor<?x64xf32>
  %a2 = "lm.attention"(%kv, %k, %kv, %b) {layer = 3 : i64, heads = 4 : i64, kv_heads = 2 : i64,
    head_dim = 16 : i64, value_dim = 32 : i64, scale = 0.25 : f64, causal = true,
    window = 0 : i64, chunk = 0 : i64, softcap = 0.0 : f64,
    operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>}
    : (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x64xf32>, !lm.batch) -> tensor<?x128xf32>
  %half = "lm.slice"(%a2) {offset = 0 : i64, size = 64 : i64}
    : (tensor<?x128xf32>) -> tensor<?x64xf32>
  %sum = "lm.add"(%a, %half) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
"""


def test_every_other_layer_has_a_pool_of_its_own_shape() -> None:
    _, plan = lowered(with_second(OTHER))
    found = [tuple(one.values()) for one in plan["kv_cache"]["layers"]]
    assert found == [(0, 1, 32, 32, 4096), (3, 2, 16, 32, 2 * 16 * (16 + 32) * 4)]


def test_a_rounding_after_attention_is_done_by_it() -> None:
    rounded = LAYER.replace(
        '%s = "lm.select_rows"(%a, %b)',
        '%r = "lm.round"(%a) : (tensor<?x64xf32>) -> !lm.quant<tensor<?x64xf32>, "int8-act">\n'
        '  %o = "lm.weight"() {symbol = "o"} : () -> !lm.quant<tensor<64x64xf32>, "int8">\n'
        '  %y = "lm.linear"(%r, %o) {operandSegmentSizes = array<i32: 1, 1, 0>} : '
        '(!lm.quant<tensor<?x64xf32>, "int8-act">, !lm.quant<tensor<64x64xf32>, "int8">) '
        "-> tensor<?x64xf32>\n"
        '  %s = "lm.select_rows"(%y, %b)',
    )
    _, plan = lowered(rounded)
    assert "round" not in [one["name"].split(".")[1] for one in plan["launches"]]
    assert symbol_of(plan["launches"][5]).endswith("rounded")


def test_what_reads_a_slice_beside_its_rotation_is_not_overwritten() -> None:
    shared = LAYER.replace('%s = "lm.select_rows"(%a, %b)', '%a2 = "lm.add"(%a, %q) : '
        '(tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>\n'
        '  %s = "lm.select_rows"(%a2, %b)')  # fmt: skip
    _, plan = lowered(shared)
    places = buffers_of(launch(plan, "rope"))
    assert places[0][1] != places[-1][1]


def test_an_operation_without_a_lowering_is_named_with_its_place() -> None:
    odd = LAYER.replace('"lm.softcap"', "").replace(
        "return %logits",
        '%z = "torch.constant.int"() {value = 1 : i64} : () -> !torch.int loc("model.py":7:3)\n'
        "  return %logits",
    )
    with pytest.raises(UnsupportedError, match=r"model.py:7:3: torch.constant.int has no lowering"):
        lowered(odd)
