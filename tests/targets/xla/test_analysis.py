"""What is read off optimised programs, held to what the programs say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingot.executables import ExecutableCache
from ingot.ir import Mesh
from ingot.targets.xla.analysis import analyse
from ingot.targets.xla.analysis.collectives import axes_of, collectives_of
from ingot.targets.xla.analysis.hlo import Array, parse_hlo
from ingot.targets.xla.compiling import ProgramCompiler
from ingot.targets.xla.platform import Platform

from .programs import grouped_program, linear_program, loop_program

CPU = Platform("cpu")
V5E = Platform("tpu", "v5e:2x4", 8)
H100 = Platform("cuda", "sm90")
LOOP = Path(__file__).with_name("loop.hlo").read_text()
ASYNC = Path(__file__).with_name("async.hlo").read_text()


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProgramCompiler]:
    with ProgramCompiler(ExecutableCache(tmp_path_factory.mktemp("cache"))) as compiler:
        yield compiler


def test_arrays_have_their_bits_and_their_memory() -> None:
    module = parse_hlo(LOOP)
    assert module.entry_name == "main.5"
    assert module.entry.parameters[1].results == (Array("s4", (4, 512, 512), 4),)
    assert module.entry.parameters[1].results[0].bytes == 1 << 19
    assert module.computations["body.2"].by_name["x"].results[0].space == 1
    assert len(module.computations["body.2"].by_name["p"].results) == 5


def test_a_loop_that_counts_in_steps_is_counted() -> None:
    found = analyse(LOOP, devices=8, weights=["layers.0.w"], mesh=Mesh.parse("dp2xtp4"))
    (reduce,) = found.collectives
    assert (reduce.kind, reduce.axes, reduce.group_size, reduce.groups) == (
        "all-reduce",
        ("dp",),
        2,
        4,
    )
    assert (reduce.bytes, reduce.count, reduce.times) == (8 * 64 * 2, 1, 4)
    (copy,) = found.copies
    assert (copy.weight, copy.dtype, copy.shape) == ("layers.*.w", "bf16", (512, 512))
    assert copy.widened and not copy.on_chip
    assert (copy.count, copy.times) == (1, 4)
    assert found.weight_bytes == {"s4": 1 << 19}
    assert found.bits_per_weight(4 * 512 * 512) == 4


def test_scales_may_be_widened() -> None:
    assert not analyse(LOOP, devices=8, weights=["layers.0.w.scales.stacked"]).copies


def test_collectives_in_calls_that_run_beside_are_found() -> None:
    found = analyse(ASYNC, devices=4, mesh=Mesh.parse("dp2xtp2"))
    assert [(one.kind, one.axes, one.times) for one in found.collectives] == [
        ("all-reduce", ("tp",), 1)
    ]
    assert found.kernels == {"tpu_custom_call": 1}


def test_copies_of_a_cache_in_memory_of_the_device_are_told_of() -> None:
    (copy,) = analyse(ASYNC, devices=4).cache_copies
    assert (copy.dtype, copy.shape, copy.count, copy.times) == ("bf16", (512, 16, 4, 64), 2, 2)
    assert copy.bytes == 512 * 16 * 4 * 64 * 2


def test_a_stage_has_the_axes_of_the_mesh_but_its_own() -> None:
    assert collectives_of(parse_hlo(LOOP), 8, Mesh.parse("pp2xdp2xtp4"))[0].axes == ("dp",)


def test_axes_are_told_by_the_groups() -> None:
    mesh = Mesh.parse("dp2xtp2xcp2")
    assert axes_of(((0, 1), (2, 3), (4, 5), (6, 7)), mesh) == ("cp",)
    assert axes_of(((0, 3, 2, 1), (4, 5, 6, 7)), mesh) == ("tp", "cp")
    assert axes_of(((0, 3), (1, 2), (4, 7), (5, 6)), mesh) is None
    assert axes_of(((0, 1),), None) is None


@pytest.mark.parametrize("platform", [CPU, V5E, H100], ids=["cpu", "v5e", "h100"])
def test_collectives_in_a_loop_count_as_often_as_it_runs(
    compiler: ProgramCompiler, platform: Platform
) -> None:
    hlo = compiler.compile(loop_program(8), platform, 8).hlo
    (reduce,) = analyse(hlo, devices=8, weights=["w"], mesh=Mesh.parse("tp8")).collectives
    assert (reduce.kind, reduce.axes, reduce.bytes) == ("all-reduce", ("tp",), 8 * 512 * 4)
    assert reduce.times == 4 and reduce.step_bytes == 4 * 8 * 512 * 4


def test_a_loop_whose_bound_is_an_input_has_no_count(compiler: ProgramCompiler) -> None:
    hlo = compiler.compile(loop_program(8, bound="argument"), V5E, 8).hlo
    found = analyse(hlo, devices=8, weights=["w"])
    assert found.loops == 1
    assert [(one.count, one.times, one.step_bytes) for one in found.collectives] == [
        (1, None, None)
    ]


def test_a_weight_widened_in_its_kernel_is_no_copy(compiler: ProgramCompiler) -> None:
    hlo = compiler.compile(loop_program(8), V5E, 8).hlo
    found = analyse(hlo, devices=8, weights=["w"])
    assert not found.widened
    assert found.weight_bytes == {"s8": 4 * 512 * 512}
    assert found.fused_share == 0.5


@pytest.mark.parametrize("platform", [CPU, V5E, H100], ids=["cpu", "v5e", "h100"])
def test_a_weight_scaled_by_groups_is_told_of(
    compiler: ProgramCompiler, platform: Platform
) -> None:
    hlo = compiler.compile(grouped_program(4096), platform, 1).hlo
    found = analyse(hlo, weights=["w", "s"])
    assert any(one.dtype in ("bf16", "f32") and one.bytes >= 32 << 20 for one in found.widened)


def test_what_depends_on_the_inputs_is_no_copy_of_a_weight(compiler: ProgramCompiler) -> None:
    hlo = compiler.compile(linear_program(8, 512, 16384, tokens=64), V5E, 8).hlo
    assert not analyse(hlo, devices=8, weights=["w", "s"]).widened
