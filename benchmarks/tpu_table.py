"""What libtpu makes of published models for TPUs that are not there: the table of docs/tpu.md.

Every row is a model, an encoding, a topology and a step (decode or prefill), compiled without
weights: seconds, memory of a device, collectives, copies of weights.  Rows are written to the JSON
file one by one, and those that it has are not made again, so the script can be stopped at any time.

    python benchmarks/tpu_table.py [--json FILE] [--models LIST] [--encodings LIST]
                                   [--topologies LIST] [--steps LIST] [--layers N] [--print]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from published_models import CONFIGURATIONS, write_configuration

from ingot.compiler.stages import Front, model_facts
from ingot.errors import IngotError
from ingot.ir import Mesh, Module
from ingot.models import import_model, open_blueprint
from ingot.targets import Build, ModelFacts, Settings, find_target
from ingot.targets.xla.analysis import Analysis, analyse
from ingot.targets.xla.compiling import Compiled, OutOfMemory, ProgramCompiler
from ingot.targets.xla.plan import Plan

ENCODINGS = {
    "bf16": ("none", "none"),
    "int8": ("int8", "int8"),
    "int4": ("int4-g128", "int8"),
    "int4-g32": ("int4-g32", "int8"),
}
"""Of linear weights, and of the embedding and the head.

Experts of 768 features are cut into eight parts in groups of 32 alone.
"""
TOPOLOGIES = ("v4-8", "v5e-8", "v5p:2x2x2", "v6e-8", "tpu7x-8")
STEPS = ("decode", "prefill")
SEQUENCES, CONTEXT, PREFILL = 16, 4096, 512
FILE = Path(__file__).parent / "results" / "tpu_table.json"

Row = dict[str, Any]


def main() -> None:
    """Make the rows that are asked for and not there yet, then print all of the file."""
    options = _options()
    rows: list[Row] = json.loads(options.json.read_text()) if options.json.exists() else []
    if not options.print:
        # What was refused may have been the fault of a version since mended.
        rows = [row for row in rows if "refused" not in row]
        done = {_key(row) for row in rows}
        for row in _new_rows(options, done):
            rows.append(row)
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
            print(*_key(row), *_cells(row), sep=" | ", flush=True)
    print(markdown(rows))


def markdown(rows: Sequence[Row]) -> str:
    """Return the table: a line for each model, encoding and topology, with all of their steps."""
    found = {name: [row for row in rows if row["step"] == name] for name in STEPS}
    steps = [name for name, some in found.items() if some]
    header = ["model", "weights", "topology", "mesh"]
    header += [f"{name}: {what}" for name in steps for what in ("compiled in", "a device", "sends")]
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for key in dict.fromkeys(_place(row) for row in rows):
        same = {row["step"]: row for row in rows if _place(row) == key}
        mesh = next((row["mesh"] for row in same.values() if row["mesh"]), "")
        cells = [cell for name in steps for cell in _cells(same.get(name))]
        lines.append(f"| {' | '.join([*map(str, key[:1] + key[2:]), mesh, *cells])} |")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, default=FILE, help="the file of the rows")
    for name, known in (
        ("models", CONFIGURATIONS),
        ("encodings", ENCODINGS),
        ("topologies", TOPOLOGIES),
        ("steps", STEPS),
    ):
        parser.add_argument(f"--{name}", type=lambda text: text.split(","), default=list(known))
    parser.add_argument("--layers", type=int, default=0, help="fewer layers, to try this out")
    parser.add_argument("--print", action="store_true", help="make no rows, only print them")
    return parser.parse_args()


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("model", "layers", "encoding", "topology", "step"))


def _new_rows(options: argparse.Namespace, done: set[tuple[Any, ...]]) -> Iterator[Row]:
    for model in options.models:
        wanted = [
            {"model": model, "layers": options.layers, "encoding": e, "topology": t, "step": s}
            for t in options.topologies
            for e in options.encodings
            for s in options.steps
        ]
        wanted = [row for row in wanted if _key(row) not in done]
        if wanted:
            module, facts = _imported(model, options.layers)
            with ProgramCompiler() as compiler:
                for row in wanted:
                    yield row | _made(compiler, module, facts, row)


def _imported(model: str, layers: int) -> tuple[Module, ModelFacts]:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = open_blueprint(write_configuration(model, Path(folder), layers))
        module = import_model(checkpoint)
        return module, model_facts(Front(checkpoint, module))


def _made(compiler: ProgramCompiler, module: Module, facts: ModelFacts, row: Row) -> Row:
    """Return what a row says beside what it is of."""
    start = time.monotonic()
    try:
        build, plan = _lowered(module, facts, row)
        made = {"mesh": plan.mesh, "lowering_seconds": round(time.monotonic() - start, 1)}
        compiled, analysis = _compiled(compiler, build, plan, row["step"])
    except OutOfMemory as error:
        return {"mesh": plan.mesh, "needs": error.needs, "has": error.has}
    except IngotError as error:
        return {"mesh": "", "refused": error.message}
    return {
        **made,
        "seconds": round(compiled.seconds, 1),
        "memory": compiled.memory.to_json(),
        "flops": compiled.flops,
        "executable_bytes": len(compiled.executable),
        **analysis.to_json(),
    }


def _lowered(module: Module, facts: ModelFacts, row: Row) -> tuple[Build, Plan]:
    """Run the target's stages but the compiler's."""
    target = find_target(f"tpu:{row['topology']}")
    linear, embedding = ENCODINGS[row["encoding"]]
    settings = Settings(
        linear=linear,
        embedding=embedding,
        context=CONTEXT,
        kv_pages=SEQUENCES * CONTEXT // 16,
        decode_batches=(SEQUENCES,),
        prefill_tokens=(PREFILL,),
    )
    build = Build(module.clone(), facts, settings, lambda name, value: None)
    for stage in target.stages:
        if stage.name != "executables":
            build = stage.run(build)
    assert build.program is not None and isinstance(build.program.plan, Plan)
    return build, build.program.plan


def _compiled(
    compiler: ProgramCompiler, build: Build, plan: Plan, wanted: str
) -> tuple[Compiled, Analysis]:
    step = next(one for one in plan.steps if one.shape.decode == (wanted == "decode"))
    mesh = Mesh.parse(plan.mesh) if plan.mesh else None
    devices = mesh.devices if mesh is not None else 1
    compiled = compiler.compile(build.files[step.stages[0].program], plan.platform, devices)
    names = [one.name for one in plan.parameters]
    return compiled, analyse(compiled.hlo, devices=devices, weights=names, mesh=mesh)


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("model", "layers", "encoding", "topology"))


def _cells(row: Row | None) -> tuple[str, str, str]:
    """Return seconds, memory and collectives of a step, or why there are none."""
    if row is None:
        return "", "", ""
    if "needs" in row:
        gib = f"needs {row['needs'] / 2**30:.1f} GiB, has {row['has'] / 2**30:.1f}"
        return "refused", gib, ""
    if "refused" in row:
        return "refused", row["refused"], ""
    return f"{row['seconds']:.0f} s", _memory(row["memory"]), _talk(row["collectives"])


def _memory(memory: Mapping[str, int]) -> str:
    return f"{memory['total'] / 1e9:.2f} GB, {memory['temporaries'] / 1e6:.0f} MB temporary"


def _talk(collectives: Sequence[Mapping[str, Any]]) -> str:
    """Return how many collectives of each kind a step has, and their bytes altogether."""
    counts: dict[str, int] = {}
    for each in collectives:
        counts[each["kind"]] = counts.get(each["kind"], 0) + (each["times"] or each["count"])
    size = sum(each["bytes"] * (each["times"] or each["count"]) for each in collectives)
    names = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{names}: {size / 1e6:.1f} MB" if names else "none"


if __name__ == "__main__":
    main()
