"""The plan's JSON is the contract with the native executor: its words and order must not drift."""

import json

from ingot.targets.cpu.plan import (
    Buffer,
    BufferSlot,
    FieldSlot,
    InputSlot,
    IntSlot,
    KvCache,
    KvLayer,
    KvSlot,
    Launch,
    Limits,
    Plan,
    State,
    StateSlot,
    Units,
    Variant,
    WeightSlot,
)

LAUNCH = Launch(
    name="layers.0.attention",
    kernels=(Variant(1, ("attention_1",)), Variant(None, ("attention_any", "attention_anyb"))),
    rows="tokens",
    units=Units("tasks", 3),
    grain=2,
    slots=(
        BufferSlot(0, 64),
        WeightSlot("w", 128),
        IntSlot(7),
        FieldSlot("tokens"),
        InputSlot("block_tables"),
        KvSlot(1),
        StateSlot(0),
    ),
    barrier=False,
)
PLAN = Plan(
    Limits(100, 64),
    KvCache("float32", (KvLayer(3, 2, 16, 8, 4096), KvLayer(5, 1, 16, 16, 2048))),
    (Buffer("x", "tokens", 64, 0), Buffer("y", "rows", 128, 64)),
    (LAUNCH,),
    logits=1,
    states=(State(4, "conv0", 192),),
)


def test_the_text_of_a_plan_is_the_documented_json() -> None:
    assert json.loads(PLAN.text()) == {
        "version": 3,
        "limits": {
            "vocab_size": 100,
            "max_positions": 64,
            "page_tokens": 16,
            "row_width": 0,
            "token_types": 0,
        },
        "kv_cache": {
            "dtype": "float32",
            "layers": [
                {"layer": 3, "kv_heads": 2, "head_dim": 16, "value_dim": 8, "bytes_per_page": 4096},
                {
                    "layer": 5,
                    "kv_heads": 1,
                    "head_dim": 16,
                    "value_dim": 16,
                    "bytes_per_page": 2048,
                },
            ],
        },
        "states": [{"layer": 4, "name": "conv0", "bytes": 192}],
        "buffers": [
            {"name": "x", "rows": "tokens", "row_bytes": 64, "offset_bytes": 0},
            {"name": "y", "rows": "rows", "row_bytes": 128, "offset_bytes": 64},
        ],
        "launches": [
            {
                "name": "layers.0.attention",
                "kernels": [[1, "attention_1"], [None, ["attention_any", "attention_anyb"]]],
                "rows": "tokens",
                "units": {"tasks": 3},
                "grain": 2,
                "barrier": False,
                "slots": [
                    ["buffer", 0, 64],
                    ["weight", "w", 128],
                    ["int", 7],
                    ["field", "tokens"],
                    ["input", "block_tables"],
                    ["kv", 1],
                    ["state", 0],
                ],
            }
        ],
        "logits": 1,
    }


def test_a_plan_without_launches_is_json_too() -> None:
    empty = Plan(PLAN.limits, PLAN.kv_cache, (), (), 0)
    assert json.loads(empty.text())["launches"] == []
    assert empty.arena_bytes_per_row == 0


def test_the_arena_is_as_wide_as_its_last_buffer() -> None:
    assert PLAN.arena_bytes_per_row == 192
