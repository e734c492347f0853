"""Prices of one small module: more to do never costs less."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.compiler.planning.branching import branches
from ingot.compiler.planning.pricing import Priced, Workload
from ingot.compiler.planning.sizes import Sizes
from ingot.compiler.planning.walking import Step
from ingot.compiler.stages import Front
from ingot.ir import Mesh, Module
from ingot.passes import parse_pipeline
from ingot.targets import Hardware

DEVICE = Hardware(
    "toy", 1 << 20, 1e9, {"float32": 1e9, "bfloat16": 2e9, "int8": 4e9}, 1e8, 1e-6, "made up"
)
MESHES = st.sampled_from([Mesh.parse(text) for text in ("tp1", "tp2", "dp2", "cp2", "dp2xtp4")])
LOADS = st.builds(
    Workload, st.integers(1, 16), st.sampled_from([16, 64, 256]), st.just(16), st.just(16)
)
few = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def priced(front: Front) -> Priced:
    passes = "lift,quantize{linear=none,embedding=none},merge-linears,fuse-norms,canonicalize"
    [(_, module)] = branches(front.module, {"": parse_pipeline(passes)})
    assert isinstance(module, Module)
    return Priced(module, Sizes.of(module))


@few
@given(MESHES, LOADS)
def test_more_sequences_take_no_less_and_decode_no_fewer(
    priced: Priced, mesh: Mesh, load: Workload
) -> None:
    one, two = (
        priced.on(mesh, each, DEVICE, "bfloat16")
        for each in (load, replace(load, batch=2 * load.batch))
    )
    assert two.memory.kv >= one.memory.kv and two.memory.weights == one.memory.weights
    assert two.decode.total >= one.decode.total and two.first == one.first
    assert two.decode.total <= 2.1 * one.decode.total


@few
@given(MESHES, LOADS)
def test_a_longer_context_takes_no_less(priced: Priced, mesh: Mesh, load: Workload) -> None:
    one, two = (
        priced.on(mesh, each, DEVICE, "bfloat16")
        for each in (load, replace(load, context=4 * load.context))
    )
    assert two.memory.kv > one.memory.kv and two.decode.total >= one.decode.total


@few
@given(MESHES, LOADS, st.sampled_from([2, 3, 8]))
def test_a_longer_prompt_takes_longer(
    priced: Priced, mesh: Mesh, load: Workload, times: int
) -> None:
    one, two = (
        priced.on(mesh, each, DEVICE, "bfloat16")
        for each in (load, replace(load, prompt=times * load.prompt))
    )
    assert two.first.total > one.first.total and two.memory == one.memory


@few
@given(LOADS)
def test_a_narrower_cache_needs_no_more(priced: Priced, load: Workload) -> None:
    alone = Mesh.parse("tp1")
    float32, bfloat16, int8 = (
        priced.on(alone, load, DEVICE, kind) for kind in ("float32", "bfloat16", "int8")
    )
    assert float32.memory.kv == 2 * bfloat16.memory.kv > 2 * int8.memory.kv / 1.5
    assert float32.decode.total >= bfloat16.decode.total


def test_prompts_are_read_in_steps() -> None:
    load = Workload(8, 4096, 1300, 512)
    assert load.prefill() == [
        Step.prefill(512),
        Step.prefill(512, 512),
        Step.prefill(276, 1024),
    ]
    assert load.decode(Mesh.parse("dp2xtp4")) == Step.decode(4, 4095)
    assert load.sequences(Mesh.parse("dp3")) == 3
