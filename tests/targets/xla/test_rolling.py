"""Equal layers as loops, weights in few bits, and what a TPU's compiler makes of both."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ingot.executables import ExecutableCache
from ingot.ir import Interpreter, Module, attribute_of, interpreter_of
from ingot.passes import parse_pipeline, random_weights
from ingot.targets.tpu.topologies import find_topology
from ingot.targets.xla.analysis import analyse
from ingot.targets.xla.compiling import ProgramCompiler
from ingot.targets.xla.lowering import (
    CacheShape,
    Options,
    StepShape,
    lower_step,
    pools_of,
    weights_of,
)
from ingot.targets.xla.lowering.segments import segments_of
from tests.passes.sharding.models import FORMS, decoder

from .machine import Machine, Twin

ROLLED = Options(roll=True)
FUSED = "merge-linears,fuse-norms,canonicalize"


def prepared(form: str, layers: int, passes: str, **sizes: int) -> Module:
    module = decoder(replace(FORMS[form], layers=layers, **sizes))
    parse_pipeline(passes).run(module)
    return module


def repeats(module: Module) -> list[int]:
    return [len(segment.repeats) for segment in segments_of(module, ROLLED)]


@pytest.mark.parametrize("form", ["llama", "gemma2", "deepseek", "gpt-oss"])
def test_layers_that_are_alike_are_found(form: str) -> None:
    assert max(repeats(prepared(form, 9, FUSED))) >= 7


def test_layers_are_told_apart_by_what_they_do_not_by_their_number() -> None:
    module = prepared("llama", 9, FUSED)
    assert repeats(module) == [1, 7, 1]
    attentions = [o for o in module.step.entry_block.operations if o.name == "lm.attention"]
    attentions[4].attributes["window"] = attribute_of(8, module.context)
    assert repeats(module) == [1, 3, 1, 4, 1]


def test_alike_layers_share_stacked_weights_and_one_array_of_pages() -> None:
    module = prepared("llama", 9, FUSED)
    plan = weights_of(module, ROLLED)
    stacked = [one for one in plan.parameters if one.stacked]
    assert stacked and all(one.shape[0] == len(one.weights) == 7 for one in stacked)
    # All layers rotate by the same frequencies: one array of them is enough.
    assert not any("inv_freq" in one.name for one in stacked)
    pools = pools_of(module, ROLLED)
    assert [pool.layers for pool in pools] == [(0,), (1, 2, 3, 4, 5, 6, 7), (8,)]
    assert pools[1].shape(CacheShape(5, 16, "float32")) == (35, 16, 4, 8)


@pytest.mark.parametrize(
    ("form", "encoding", "mesh"),
    [
        ("llama", "int4-g32", ""),
        ("mixtral", "int4-g32-min", "tp2"),
        ("qwen2", "int8", ""),
        ("llama", "int8-g32", ""),
    ],
)
def test_loops_over_quantised_layers(form: str, encoding: str, mesh: str) -> None:
    encode = f"quantize{{linear={encoding},embedding={encoding}}}"
    module = prepared(form, 5, encode, hidden=64, inner=128)
    sharded = module.clone()
    divide = f"assign-sharding{{mesh={mesh}}},propagate-sharding,partition," if mesh else ""
    parse_pipeline(divide + FUSED).run(sharded)
    assert max(repeats(sharded)) == 3
    weights = random_weights(module)
    pair = Twin(Machine(sharded, weights, ROLLED), Interpreter(module, weights), 96)
    assert pair.error((7, 1, 20), (0, 1, 2), rows=[3, 7, 27], padding=1) < 1e-5


def test_a_product_of_rounded_rows_is_one_of_integers() -> None:
    rounding = "round-activations{encoding=int8-row},fuse-rounding"
    module = prepared("llama", 1, f"quantize{{linear=int8,embedding=int8}},{FUSED},{rounding}")
    weights = random_weights(module)
    pair = Twin(Machine(module, weights), interpreter_of(module, weights), 96)
    assert pair.error((7, 20), (0, 1)) < 1e-5
    (program,) = lower_step(module, StepShape(2, 2, 2, 2), CacheShape(4, 16, "float32"), Options())
    products = [line for line in program.text.splitlines() if "stablehlo.dot_general" in line]
    assert sum("xi32> loc" in line for line in products) == 5


@pytest.mark.parametrize(("chip", "topology"), [("v4", "v4-8"), ("v5e", "v5e-4")])
def test_a_tpu_reads_weights_where_they_are(chip: str, topology: str, tmp_path: Path) -> None:
    sizes = {"hidden": 1024, "heads": 8, "kv_heads": 4, "head_dim": 128, "inner": 2048}
    encode = "quantize{linear=int4-g32,embedding=int8}"
    module = prepared("llama", 6, f"{encode},{FUSED}", **sizes)
    (program,) = lower_step(
        module,
        StepShape(8, 8, 8, 64, decode=True),
        CacheShape(512, 16, "bfloat16"),
        Options("bfloat16", roll=True, chip=chip),
    )
    assert program.text.count("@tpu_custom_call") == 3
    with ProgramCompiler(ExecutableCache(tmp_path)) as compiler:
        memory = compiler.compile(program.portable(), find_topology(topology).platform, 1).memory
    pages = 6 * 512 * 16 * 8 * 128 * 2
    assert memory.aliased == pages
    assert memory.temporaries < 0.05 * memory.arguments


def test_devices_of_a_tpu_send_each_other_what_the_program_says(tmp_path: Path) -> None:
    """libtpu may divide what follows a sum, and add further sums to put it together."""
    sizes = {"hidden": 2048, "heads": 16, "kv_heads": 8, "head_dim": 128, "inner": 4096}
    divide = "assign-sharding{mesh=tp4},propagate-sharding,partition,narrow-exchanges"
    module = prepared("llama", 4, f"{divide},{FUSED}", **sizes)
    (program,) = lower_step(
        module,
        StepShape(512, 16, 16, 64),
        CacheShape(512, 16, "bfloat16"),
        Options("bfloat16", roll=True, chip="v5e"),
    )
    with ProgramCompiler(ExecutableCache(tmp_path)) as compiler:
        compiled = compiler.compile(program.portable(), find_topology("v5e-4").platform, 4)
    found = analyse(compiled.hlo, devices=4, weights=(), mesh=module.mesh).collectives
    times: Counter[str] = Counter()
    for one in found:
        times[one.kind] += one.times or 0
    assert times == {"all-reduce": 9, "all-gather": 1}
