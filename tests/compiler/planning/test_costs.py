"""What steps of small modules ask of a device, and how many bytes they need: by hand."""

from dataclasses import dataclass, field

import pytest

from ingot.compiler.planning.branching import branches, in_common
from ingot.compiler.planning.dividing import collectives, ring
from ingot.compiler.planning.memory import (
    kv_memory,
    stored_bytes,
    temporary_memory,
    weight_memory,
)
from ingot.compiler.planning.roofline import Work
from ingot.compiler.planning.sizes import Sizes
from ingot.compiler.planning.walking import Step, Visit, name_of, visits
from ingot.compiler.planning.work import kv_bytes, visible, work_of
from ingot.compiler.stages import Front
from ingot.errors import IngotError
from ingot.ir import Mesh, Module
from ingot.models import import_model, open_blueprint
from ingot.passes import parse_pipeline

from .conftest import write_configuration

HIDDEN, FFN, VOCABULARY, LAYERS, HEADS, KV_HEADS, HEAD = 64, 128, 96, 2, 8, 2, 16
Q, KV = HEADS * HEAD, KV_HEADS * HEAD
LINEARS = LAYERS * (HIDDEN * (Q + 2 * KV) + Q * HIDDEN + 3 * HIDDEN * FFN)
TABLES = 2 * VOCABULARY * HIDDEN
VECTORS = 2 * (2 * LAYERS + 1) * HIDDEN + 4 * HEAD // 2
"""Bytes of norms in bfloat16, and of frequencies in float32."""
ALONE = "lift,quantize{linear=none,embedding=none},merge-linears,fuse-norms,canonicalize"
INT8 = ALONE.replace("linear=none", "linear=int8")


@dataclass
class Modules:
    """Modules made of the small model, kept for as long as their operations are looked at."""

    front: Front
    made: dict[str, Module] = field(default_factory=dict)

    def after(self, pipeline: str) -> Module:
        if pipeline not in self.made:
            [(_, module)] = branches(self.front.module, {"": parse_pipeline(pipeline)})
            assert isinstance(module, Module), module
            self.made[pipeline] = module
        return self.made[pipeline]

    def on(self, mesh: str, sequence: bool = False) -> Module:
        passes = f"assign-sharding{{mesh={mesh} sequence={str(sequence).lower()}}}"
        passes += ",propagate-sharding,partition,merge-linears"
        return self.after(ALONE.replace("merge-linears", passes))


@pytest.fixture(scope="module")
def modules(front: Front) -> Modules:
    return Modules(front)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Modules:
    """The same with six layers."""
    folder = tmp_path_factory.mktemp("deep") / "deep"
    checkpoint = open_blueprint(write_configuration(folder, "llama", num_hidden_layers=6))
    return Modules(Front(checkpoint, import_model(checkpoint)))


@pytest.fixture(scope="module")
def alone(modules: Modules) -> Module:
    return modules.after(ALONE)


def only(module: Module, name: str, step: Step) -> list[Visit]:
    return [visit for visit in visits(module, step) if name_of(visit.op) == name]


def test_sizes_are_read_off_the_operations(alone: Module) -> None:
    nothing: frozenset[int] = frozenset()
    expected = Sizes(HIDDEN, LAYERS, frozenset({HEADS}), frozenset({KV_HEADS}), nothing, VOCABULARY)
    assert Sizes.of(alone) == expected


def test_the_head_works_on_the_rows_that_want_logits(alone: Module) -> None:
    linears = only(alone, "linear", Step.prefill(10))
    assert linears[-1].rows == 1 and linears[0].rows == 10
    assert sum(work_of(v, Step.prefill(10), "bfloat16").flops for v in linears[-1:]) == (
        2 * HIDDEN * VOCABULARY
    )


def test_a_linear_reads_its_weight_once_whatever_the_rows(alone: Module) -> None:
    for step in (Step.decode(1, 10), Step.decode(7, 10)):
        works = [work_of(visit, step, "bfloat16") for visit in only(alone, "linear", step)]
        assert sum(work.weights for work in works) == 2 * (LINEARS + VOCABULARY * HIDDEN)
        assert sum(w.flops for w in works) == 2 * step.tokens * (LINEARS + VOCABULARY * HIDDEN)
        assert {work.kind for work in works} == {"bfloat16"}


def test_attention_reads_the_cache_of_every_sequence(alone: Module) -> None:
    step = Step.decode(3, 100)
    work = work_of(only(alone, "attention", step)[0], step, "bfloat16")
    assert work.kv == 3 * 101 * 2 * KV * 2
    assert work.flops == 3 * 2 * 101 * HEADS * 2 * HEAD
    whole = work_of(only(alone, "attention", step)[0], step, "float32")
    assert whole.kv == 2 * work.kv and whole.kind == "float32"


def test_an_int8_cache_has_scales(alone: Module) -> None:
    op = only(alone, "attention", Step.decode(1, 0))[0].op
    assert kv_bytes(op, 10, "int8") == 10 * KV_HEADS * (2 * HEAD + 8)
    assert visible(op, 1000) == 1000


def test_weights_and_cache_of_one_device(alone: Module, modules: Modules) -> None:
    seen = list(visits(alone, Step.decode(1, 0)))
    assert weight_memory(seen) == 2 * (LINEARS + TABLES) + VECTORS
    one = Mesh.parse("tp1")
    assert kv_memory(seen, 3, 33, "bfloat16", one, whole=True) == 3 * 48 * LAYERS * 2 * KV * 2
    encoded = modules.after(INT8)
    rows = LAYERS * (Q + 2 * KV + HIDDEN + 2 * FFN + HIDDEN)
    expected = LINEARS + 4 * rows + 2 * TABLES + VECTORS
    assert weight_memory(list(visits(encoded, Step.decode(1, 0)))) == expected


def test_a_device_of_tp2_holds_half_of_everything_but_norms(modules: Modules) -> None:
    seen = list(visits(modules.on("tp2"), Step.decode(1, 0)))
    assert weight_memory(seen) == LINEARS + TABLES + VECTORS
    assert kv_memory(seen, 1, 16, "bfloat16", Mesh.parse("tp2"), whole=False) == (
        16 * LAYERS * 2 * KV
    )


@pytest.mark.parametrize("mesh", ["tp2", "dp2", "cp2", "tp4", "dp2xtp2", "cp2xtp2"])
def test_an_estimate_is_near_the_program(modules: Modules, alone: Module, mesh: str) -> None:
    """Weights but for replicated KV heads, the KV cache exactly."""
    parsed, step = Mesh.parse(mesh), Step.decode(2, 31)
    program, whole = list(visits(modules.on(mesh), step)), list(visits(alone, step))
    estimate, exact = weight_memory(whole, parsed), weight_memory(program)
    assert estimate <= exact <= 1.2 * estimate
    assert kv_memory(whole, 2, 64, "bfloat16", parsed, whole=True) == kv_memory(
        program, 2, 64, "bfloat16", parsed, whole=False
    )


def test_the_stages_of_a_pipeline_hold_their_own_layers(modules: Modules) -> None:
    program = list(visits(modules.on("pp2"), Step.decode(1, 15)))
    assert {visit.stage for visit in program} == {0, 1}
    one = Mesh.parse("pp2")
    assert kv_memory(program, 1, 16, "bfloat16", one, whole=False) == 16 * 2 * KV * 2
    assert weight_memory(program) < 2 * (LINEARS + TABLES) * 0.75


def test_collectives_send_what_rings_send(modules: Modules) -> None:
    step = Step.decode(4, 10)
    program = list(visits(modules.on("tp2"), step))
    works = [work_of(visit, step, "bfloat16") for visit in program]
    sums = [work for work in works if work.sent]
    # Two a layer and that of the embedding go both ways around, the logits once.
    assert sorted(work.sent for work in sums) == sorted(
        [4 * HIDDEN * 4] * (2 * LAYERS + 1) + [4 * VOCABULARY * 4 / 2]
    )
    estimated = collectives(Sizes.of(modules.after(ALONE)), step, Mesh.parse("tp2"))
    assert sum(w.sent * count for w, count in estimated.items()) == sum(w.sent for w in sums)


def test_rows_between_the_layers_are_divided_where_sequences_are(modules: Modules) -> None:
    step = Step.prefill(8)
    seen = list(visits(modules.on("tp2", sequence=True), step))
    assert {visit.rows for visit in seen if name_of(visit.op).endswith("rms_norm")} >= {4}
    assert {v.rows for v in seen if name_of(v.op) == "attention"} == {8}


def test_a_ring_of_two_sends_half_each_way() -> None:
    assert ring(100.0, 2) == Work(sent=50.0, messages=1)
    assert ring(100.0, 4, passes=2) == Work(sent=150.0, messages=6)


def test_temporaries_are_those_alive_at_once(alone: Module) -> None:
    small, large = (list(visits(alone, Step.prefill(n))) for n in (16, 160))
    # The products of the gated unit and the residual are alive together.
    assert temporary_memory(small) >= 16 * 4 * (2 * FFN + HIDDEN)
    assert temporary_memory(large) == pytest.approx(10 * temporary_memory(small), rel=0.1)


@pytest.mark.parametrize("mesh", ["tp2", "cp2", "dp2"])
def test_temporaries_do_not_pile_up_over_the_layers(
    modules: Modules, deep: Modules, mesh: str
) -> None:
    two, six = (list(visits(one.on(mesh), Step.prefill(64))) for one in (modules, deep))
    assert temporary_memory(two) == temporary_memory(six)


def test_scales_of_whole_rows_are_counted(modules: Modules) -> None:
    op = only(modules.after(INT8), "linear", Step.decode(1, 0))[1].op
    assert stored_bytes(op.operands[1]) == HIDDEN * Q + 4 * HIDDEN


def test_pipelines_share_what_they_begin_with(front: Front) -> None:
    ran: list[str] = []
    pipelines = {name: parse_pipeline(f"lift,{name}") for name in ("canonicalize", "fuse-norms")}
    assert str(in_common(pipelines.values())) == str(parse_pipeline("lift"))
    made = dict(branches(front.module, pipelines, lambda one: ran.append(one.name())))
    assert set(made) == set(pipelines) and ran.count("raise") == 1


def test_a_refusal_comes_in_the_place_of_a_module(front: Front) -> None:
    wrong = parse_pipeline("lift,assign-sharding{mesh=tp3}")
    made = dict(branches(front.module, {"tp3": wrong, "": parse_pipeline("lift")}))
    assert isinstance(made["tp3"], IngotError) and isinstance(made[""], Module)
