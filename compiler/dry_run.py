"""A compile without weights: everything is planned, and nothing of them but headers is read."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ingot.ir import Cost
from ingot.runtime.artifact_format import CPU_PLAN
from ingot.targets import find_target

from .artifact import NO_DIGEST, Contents, WeightEntry, artifact_sizes
from .costs import step_cost
from .device_facts import facts_of
from .kinds import layer_kinds
from .manifest import describe, model_files
from .peak_memory import peak_memory
from .plan_facts import kernel_facts, memory_facts
from .report import LayerKind
from .stages import CompileOptions, Progress, check_options, lower_model, open_front, quiet

CONTEXT = 1024


@dataclass(frozen=True)
class Planned:
    """What a compile would make.

    `sizes` are the exact bytes of the artifact's files.  `memory` and `kernels` are those of
    `ingot inspect`, empty for targets without a plan of launches.  `devices` are those of a target
    whose plan has devices; its programs are not made, and not in `sizes`.  `decode` maps a number
    of cached tokens to the cost of decoding one token after them, `prefill` is that of 512 tokens.
    `front_seconds` is the time up to the imported module.
    """

    name: str
    architecture: Mapping[str, Any]
    pipeline: str
    kinds: tuple[LayerKind, ...]
    sizes: Mapping[str, int]
    memory: Mapping[str, Any]
    kernels: Mapping[str, Any]
    devices: Mapping[str, Any]
    decode: Mapping[int, Cost]
    prefill: Cost
    front_seconds: float
    seconds: float
    peak_memory: int

    @property
    def bytes(self) -> int:
        """The size of the artifact."""
        return sum(self.sizes.values())

    @property
    def parameters(self) -> int:
        """Weights in the artifact; a tied table counts once."""
        return sum(kind.parameters for kind in self.kinds)


PREFILL_TOKENS = 512


def plan_model(
    path: str | Path, options: CompileOptions | None = None, progress: Progress = quiet
) -> Planned:
    """Do all of a compile of the checkpoint at `path` but reading, packing and writing weights.

    Raises what `compile_model` raises for the model and the options.
    """
    options = options or CompileOptions()
    start = time.monotonic()
    target = find_target(options.target)
    check_options(target, options.settings)
    front = open_front(path, options, progress)
    front_seconds = time.monotonic() - start
    # Their hashes would need the whole files.
    sources = dict.fromkeys(front.checkpoint.sources, NO_DIGEST)
    front = replace(front, checkpoint=replace(front.checkpoint, sources=sources))
    lowering = lower_model(front, options, progress, dry_run=True)
    lowering.inspector.close()
    build = lowering.build.finished()
    assert build.program is not None
    graph = build.module.bytecode()
    files = {**model_files(front.checkpoint), "graph.mlirbc": graph, **build.files}
    entries = [WeightEntry(one.name, one.num_bytes, _unread) for one in build.program.weights]
    manifest = describe(target, build, front.checkpoint, lowering.inspector.checks)
    sizes = artifact_sizes(Contents(files, entries, manifest))
    has_plan = CPU_PLAN in files
    most = build.facts.max_positions
    return Planned(
        name=front.checkpoint.name,
        architecture=manifest["architecture"],
        pipeline=build.pipeline,
        kinds=layer_kinds(build.program.weights),
        sizes=sizes,
        memory=memory_facts(json.loads(files[CPU_PLAN]), sizes) if has_plan else {},
        kernels=kernel_facts(manifest["targets"]["cpu"], sizes) if has_plan else {},
        devices=facts_of(manifest["targets"], files),
        decode={
            n: step_cost(build.module, 1, n) for n in sorted({0, min(CONTEXT, most - 1), most - 1})
        },
        prefill=step_cost(build.module, min(PREFILL_TOKENS, most)),
        front_seconds=front_seconds,
        seconds=time.monotonic() - start,
        peak_memory=peak_memory(),
    )


def _unread() -> Any:
    raise AssertionError("a dry run reads no weight")
