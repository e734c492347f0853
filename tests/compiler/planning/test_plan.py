"""Whole plans of small models: what is ranked how, what is refused, and what is printed."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingot.compiler.cli.main import main
from ingot.compiler.cli.plan import with_bar, write_json
from ingot.compiler.planning import Plan, Request, make_plan, winner
from ingot.compiler.planning.checking import SMALL_CHUNK, check_best, stated_bytes
from ingot.compiler.planning.plan import ask, devices_of, hardware_of
from ingot.compiler.planning.roofline import Spent
from ingot.compiler.planning.search import SURVIVORS, search
from ingot.compiler.planning.table import drivers, format_ranking
from ingot.compiler.stages import Front, model_facts
from ingot.errors import UnsupportedError, UsageError
from ingot.ir import Mesh
from ingot.models import import_model, open_blueprint
from ingot.targets import Build, Hardware, Settings, Stage, Target, find_target
from ingot.targets.xla.compiling import OutOfMemory

from .conftest import write_configuration

TPU = "tpu:v5e-8"
SMALL = Request(context=64, batch=4, prompt=32)
FEWER = "tpu:v5e-4"
ONE = replace(SMALL, encodings=("int8",))


def quiet(what: str, done: int, total: int) -> None:
    pass


def plan_of(front: Front, target: Target, request: Request, **more: Any) -> Plan:
    facts, settings = model_facts(front), Settings()
    compiles = more.pop("compiles", False)
    return make_plan(
        front.checkpoint, front.module, facts, target, settings, request, quiet, compiles=compiles
    )


def with_memory(target: Target, size: int) -> Target:
    assert target.hardware is not None
    return replace(target, hardware=replace(target.hardware, memory_bytes=size))


@pytest.fixture(scope="module")
def plan(front: Front) -> Plan:
    return plan_of(front, find_target(TPU), SMALL)


@pytest.fixture(scope="module")
def few(front: Front) -> Plan:
    return plan_of(front, find_target(FEWER), ONE)


def test_every_configuration_has_its_place(plan: Plan) -> None:
    meshes = {str(one.mesh) for one in plan.candidates}
    assert meshes.isdisjoint(plan.obstacles) and {"tp8", "dp4xtp2", "pp2xtp4"} <= meshes
    assert plan.obstacles["ep8"] == "no experts" and plan.obstacles["dp8"].startswith("4 sequences")
    assert len(plan.candidates) == 3 * len(meshes)
    assert all(one.fits for one in plan.candidates)
    rates = [one.tokens_per_s for one in plan.candidates]
    assert rates == sorted(rates, reverse=True)


def test_the_best_of_each_encoding_are_priced_by_their_programs(plan: Plan) -> None:
    for encoding in ("none", "int8", "int4-g128"):
        own = [one for one in plan.candidates if one.configuration.encoding == encoding]
        priced = [one for one in own if not one.refusal][:SURVIVORS]
        assert {one.source for one in priced} == {"program"}, encoding


def test_total_and_single_rates_belong_together(plan: Plan) -> None:
    for one in plan.candidates:
        assert one.tokens_per_s == pytest.approx(4 * one.tokens_per_s_each)


def test_a_longer_context_needs_more_and_is_not_faster(front: Front, few: Plan) -> None:
    longer = plan_of(front, find_target(FEWER), replace(ONE, context=256))
    known = {one.configuration: one for one in longer.candidates}
    for one in few.candidates:
        other = known[one.configuration]
        if other.source == one.source:
            assert other.memory.kv == 4 * one.memory.kv
            assert other.decode.total >= one.decode.total


def test_too_little_memory_is_refused_with_the_nearest(front: Front) -> None:
    small = plan_of(front, with_memory(find_target(FEWER), 20_000), ONE)
    assert not any(one.fits for one in small.candidates)
    excesses = [one.excess for one in small.candidates]
    assert excesses == sorted(excesses)
    with pytest.raises(UnsupportedError, match=r"no configuration fits tpu:v5e-4: the nearest, --"):
        winner(small)
    assert "too much" in format_ranking(small)


def test_what_does_not_fit_comes_behind_all_that_does(front: Front, few: Plan) -> None:
    sizes = sorted(one.bytes for one in few.candidates)
    middle = plan_of(front, with_memory(find_target(FEWER), int(sizes[len(sizes) // 2])), ONE)
    fits = [one.fits for one in middle.candidates]
    assert fits == sorted(fits, reverse=True) and 0 < sum(fits) < len(fits)
    assert winner(middle) == middle.candidates[0]


def test_targets_that_are_missed_are_marked(front: Front, few: Plan) -> None:
    rates = {one.tokens_per_s for one in few.candidates}
    asked = replace(ONE, tokens_per_s=2 * max(rates), ttft=1e-9)
    text = format_ranking(plan_of(front, find_target(FEWER), asked))
    assert "nothing that fits meets what was asked of TTFT and tokens/s" in text
    assert text.count(" ms*") == len(few.candidates)


def test_the_table_shows_the_best_of_each_encoding(plan: Plan) -> None:
    short = replace(plan, request=replace(plan.request, top=1))
    shown = [one.configuration.encoding for _, one in short.shown()]
    assert len(shown) == len(set(shown)) == 3
    text = format_ranking(short)
    assert "8 x TPU v5e, each 17.18 GB, 819 GB/s" in text
    assert "4 sequences of 64 tokens; TTFT is that of a prompt of 32" in text
    best = plan.candidates[0].configuration
    assert f"--target tpu:v5e-8 {best.command()} --context 64 --decode-batches " in text


def test_drivers_leave_out_what_takes_next_to_nothing() -> None:
    assert drivers(Spent(weights=3, kv=1, links=0.001)) == "weights 75%, kv 25%"


def test_a_sparse_model_is_divided_by_experts(tmp_path: Path) -> None:
    sizes = {"num_local_experts": 4, "num_experts_per_tok": 2}
    checkpoint = open_blueprint(write_configuration(tmp_path / "sparse", "mixtral", **sizes))
    sparse = Front(checkpoint, import_model(checkpoint))
    request = replace(ONE, encodings=("int8",))
    found = plan_of(sparse, find_target(FEWER), request)
    meshes = {str(one.mesh) for one in found.candidates}
    assert {"ep4", "ep2xtp2", "tp4"} <= meshes


class TestCheckedByACompiler:
    """A target whose last stage states memory as the real compilers do."""

    @staticmethod
    def target(state: Callable[[Build], Build]) -> Target:
        known = find_target(FEWER)
        return replace(known, stages=(known.stages[0], Stage("executables", state)))

    def test_what_it_states_takes_the_place_of_what_was_predicted(self, front: Front) -> None:
        asked: list[Settings] = []

        def state(build: Build) -> Build:
            asked.append(build.settings)
            facts = {name: {"memory": {"total": size}} for name, size in (("a", 7), ("b", 12345))}
            return replace(build, notes={"programs": facts})

        found = plan_of(front, self.target(state), ONE, compiles=True)
        checked = [one for one in found.candidates if one.source == "compiler"]
        assert len(checked) == 3 and {one.bytes for one in checked} == {12345}
        assert "compiled" in format_ranking(found)
        assert {one.prefill_tokens for one in asked} == {(SMALL_CHUNK,)}
        assert {one.context for one in asked} == {64}
        # A page has 16 tokens on each device along cp.
        places = [Mesh.parse(one.mesh).size("cp") for one in asked]
        assert all(s.kv_pages * 16 * cp == 4 * 64 for s, cp in zip(asked, places, strict=True))

    def test_its_refusal_is_one(self, front: Front) -> None:
        def state(build: Build) -> Build:
            raise OutOfMemory(3 << 34, 1 << 34, "decode-4.0")

        target = self.target(state)
        facts, settings = model_facts(front), Settings()
        question = ask(front.checkpoint, front.module, facts, target, settings, ONE)
        ranked = search(question, quiet).candidates
        checked = list(check_best(question, ranked, quiet))
        assert checked and not any(one.fits for one in checked)
        assert {one.stated for one in checked} == {3 << 34}

    def test_a_compile_that_states_nothing(self) -> None:
        assert stated_bytes({}) == 0


def test_virtual_devices_share_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Hardware("here", 800, 80.0, {"float32": 8.0, "int8": 32.0}, 0.0, 0.0, "measured")
    monkeypatch.setattr("ingot.compiler.planning.plan.measure_machine", lambda: machine)
    half = hardware_of(find_target("xla:cpu"), 2)
    assert half.memory_bytes == 400 and half.flops == {"float32": 4.0, "int8": 16.0}
    assert half.memory_bandwidth == half.link_bandwidth == 40.0
    assert hardware_of(find_target(TPU), 8) is find_target(TPU).hardware


def test_devices_are_those_of_the_target() -> None:
    assert devices_of(find_target(TPU), Request()) == 8
    assert devices_of(find_target("xla:h100"), Request(devices=4)) == 4
    with pytest.raises(UsageError, match="has 8 devices, not 4"):
        devices_of(find_target(TPU), Request(devices=4))


def test_a_target_of_which_nothing_is_known() -> None:
    with pytest.raises(UsageError, match="nothing is known of the speed"):
        hardware_of(replace(find_target(FEWER), hardware=None), 8)


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda: Request(encodings=("int3",)), "'int3' is no encoding"),
        (lambda: Request(encodings=("int8-act",)), "'int8-act' is no encoding"),
        (lambda: Request(kv_dtypes=("int2",)), "'int2' is no type of a KV cache"),  # type: ignore[arg-type]
        (lambda: Request(batch=0), "0 is no number of sequences"),
        (lambda: Request(context=300).within(256), "has 256 positions, and the context 300"),
        (lambda: Request(context=64, prompt=65).within(256), "prompt of 65 tokens is longer"),
    ],
)
def test_what_cannot_be_asked(request_of: Callable[[], Request], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        request_of()


def test_a_model_that_embeds_has_no_plan(tmp_path: Path) -> None:
    folder = write_configuration(tmp_path / "bert", "bert", architectures=["BertModel"])
    checkpoint = open_blueprint(folder)
    embedding = Front(checkpoint, import_model(checkpoint))
    with pytest.raises(UnsupportedError, match="made to embed"):
        plan_of(embedding, find_target("cpu"), Request())


def test_the_command(dense: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", str(dense), "--target", "cpu", "--context", "64", "--kv-dtypes", "int8"]
    assert main([*words, "--json", str(tmp_path / "plan.json")]) == 0
    said = capsys.readouterr()
    assert "ingot compile" in said.out and "] 3/3 estimate int4-g32" in said.err
    written = json.loads((tmp_path / "plan.json").read_text())
    machine = written["hardware"]
    assert machine["source"] == "measured" and machine["memory_bytes"] > 1 << 28
    assert machine["memory_bandwidth"] > 1e8 and machine["flops"]["float32"] > 1e8
    assert machine["flops"]["int8"] > machine["flops"]["float32"] / 4
    first = written["configurations"][0]
    assert first["fits"] and first["tokens_per_s"] == pytest.approx(8 * first["tokens_per_s_each"])
    assert first["memory"]["predicted"] == sum(
        first["memory"][name] for name in ("weights", "kv", "temporaries")
    )


def test_the_command_names_what_it_does_not_know(
    dense: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(dense), "--target", "tpu:v99-8"]) == 2
    assert "v5e" in capsys.readouterr().err
    assert main(["plan", str(dense), "--encodings", "int3"]) == 2
    assert "Encodings: none, w8a8" in capsys.readouterr().err


def test_json_that_cannot_be_written(plan: Plan) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        write_json(plan, "/nowhere/plan.json")
    parsed = json.loads(json.dumps(plan.to_json()))
    assert len(parsed["configurations"]) == len(plan.candidates)


def test_the_bar_goes_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    progress = with_bar(lambda what, done, total: lines.append(what))
    progress("estimate int8", 1, 4)
    progress("raise", 0, 0)
    progress("estimate none", 4, 4)
    assert lines == ["[#####...............] 1/4 estimate int8", f"[{'#' * 20}] 4/4 estimate none"]
