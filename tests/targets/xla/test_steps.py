"""The sizes of steps, and how many pages of KV cache there are for them."""

import json

import pytest

from ingot.errors import UsageError
from ingot.ir import Mesh
from ingot.targets import ModelFacts, Settings
from ingot.targets.hardware import TPU_V5E
from ingot.targets.xla.lowering import KvPool, Parameter, StepShape
from ingot.targets.xla.memory import PAGE_TOKENS, cache_of, limits_of, room_for_pages
from ingot.targets.xla.plan import Plan, PlannedStage, Step
from ingot.targets.xla.platform import Platform
from ingot.targets.xla.steps import ACCELERATOR, CPU, Sizes, step_shapes

FACTS = ModelFacts(vocab_size=100, max_positions=512)
POOL = KvPool(layers=(0, 1), stage=0, kv_heads=2, head_dim=8)
WEIGHT = Parameter("w", "int4", (3, 6, 4), 0, ("tp",), (("w@tp0", "w@tp1"),) * 3, stacked=True)


def test_the_smallest_prefill_has_a_twin_that_gives_all_rows() -> None:
    shapes = step_shapes(CPU, blocks=7)
    assert [shape.tokens for shape in shapes if shape.decode] == [1, 8]
    assert StepShape(32, 32, 32, 7) in shapes and StepShape(256, 32, 32, 7) in shapes
    twins = step_shapes(Sizes((1,), (64, 128)), blocks=7)
    assert [(s.tokens, s.sequences, s.rows) for s in twins if not s.decode] == [
        (64, 32, 32),
        (64, 32, 64),
        (128, 32, 32),
    ]


@pytest.mark.parametrize("sizes", [CPU, ACCELERATOR, Sizes((300,), (8,)), Sizes((4,), (1, 64))])
def test_some_step_gives_a_row_for_each_of_its_tokens(sizes: Sizes) -> None:
    assert any(s.rows == s.tokens for s in step_shapes(sizes, 3) if not s.decode)


def test_settings_choose_other_sizes() -> None:
    chosen = CPU.chosen(Settings(decode_batches=(16, 2)))
    assert chosen == Sizes((2, 16), CPU.prefill)


def test_pages_are_those_of_full_sequences_if_there_is_room() -> None:
    roomy = limits_of(FACTS, Settings(), None, sequences=8, room=10_000)
    assert (roomy.num_pages, roomy.context, roomy.page_tokens) == (8 * 32, 512, PAGE_TOKENS)
    tight = limits_of(FACTS, Settings(), None, sequences=8, room=20)
    assert (tight.num_pages, tight.context) == (20, 20 * PAGE_TOKENS)


def test_a_context_that_was_asked_for_has_its_pages() -> None:
    asked = limits_of(FACTS, Settings(context=400), None, sequences=8, room=-5)
    assert (asked.num_pages, asked.context) == (25, 400)
    assert limits_of(FACTS, Settings(), None, sequences=8, room=-5).context == PAGE_TOKENS


def test_data_groups_have_pages_of_their_own_and_cp_longer_ones() -> None:
    mesh = Mesh.parse("dp2xtp2xcp2")
    limits = limits_of(FACTS, Settings(kv_pages=41), mesh, sequences=8, room=1)
    assert (limits.num_pages, limits.page_tokens) == (40, 2 * PAGE_TOKENS)
    assert cache_of(limits, mesh, "float32").pages == 20
    assert cache_of(limits, mesh, "float32").page_tokens == PAGE_TOKENS


def test_room_is_what_the_weights_leave() -> None:
    page = 2 * PAGE_TOKENS * 2 * 2 * 8 * 2
    weights = 3 * (6 * 4 // 2)
    room = room_for_pages([POOL], [WEIGHT], "bfloat16", 8, TPU_V5E)
    assert room == (int(0.9 * TPU_V5E.memory_bytes) - weights) // page
    assert room_for_pages([POOL], [WEIGHT], "bfloat16", 8, None) == (512 << 20) // 8 // page


def test_impossible_limits_are_refused() -> None:
    with pytest.raises(UsageError, match="--context 1024 is more than the 512 positions"):
        limits_of(FACTS, Settings(context=1024), None, 8, 1000)
    with pytest.raises(UsageError, match="leaves nothing for some of the 4 data groups"):
        limits_of(FACTS, Settings(kv_pages=3), Mesh.parse("dp4"), 8, 1000)


def test_a_plan_is_read_as_json() -> None:
    limits = limits_of(FACTS, Settings(kv_pages=4), None, 8, 1)
    plan = Plan(
        platform=Platform("tpu", "v5e:2x2", 4),
        mesh="",
        build="libtpu 1",
        limits=limits,
        cache=cache_of(limits, None, "bfloat16"),
        pools=(POOL,),
        parameters=(WEIGHT,),
        steps=(Step(StepShape(1, 1, 1, 4, decode=True), (PlannedStage("a.mlir.bc", "a.bin"),)),),
    )
    document = json.loads(plan.text())
    assert document["platform"] == "tpu" and document["topology"] == "v5e:2x2"
    assert document["kv_cache"]["layers"] == [
        {
            "layers": [0, 1],
            "stage": 0,
            "kv_heads": 2,
            "head_dim": 8,
            "shape": [8, 16, 4, 8],
            "bytes_per_page": 2 * 16 * 4 * 8 * 2,
        }
    ]
    (parameter,) = document["parameters"]
    assert parameter["parts"] == {"axes": ["tp"], "weights": [["w@tp0", "w@tp1"]] * 3}
    assert document["steps"][0]["stages"] == [{"program": "a.mlir.bc", "executable": "a.bin"}]
