"""From a checkpoint to an artifact: import, the target's stages, then writing."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

from ingot.models import Checkpoint
from ingot.targets import Build, Target, find_target

from .artifact import Contents, check_destination, write_artifact
from .cycles import rare_collections
from .device_facts import facts_of
from .full_report import details_of
from .kinds import layer_kinds
from .manifest import describe, model_files
from .peak_memory import peak_memory
from .report import Report
from .stage_times import StageClock
from .stages import IMPORT, OPEN, Front, check_options, lower_model, open_front, quiet
from .stages import CompileOptions as CompileOptions
from .stages import Progress as Progress
from .weights import packed_ahead

WRITE = "write"


def compile_model(
    path: str | Path,
    output: str | Path,
    options: CompileOptions | None = None,
    progress: Progress = quiet,
) -> Report:
    """Compile the checkpoint at `path` into the artifact `output`.

    Raises `CheckpointError` or `UnsupportedError` for a model that cannot be compiled, `UsageError`
    for options, `VerificationError` for a pass that breaks its contract, `ArtifactError` where the
    disk refuses; nothing half-written stays behind.
    """
    options, output = options or CompileOptions(), Path(output)
    start = time.monotonic()
    target = _check(output, options)
    stages = (OPEN, IMPORT, *(stage.name for stage in target.stages), WRITE)
    clock = StageClock(stages, progress)
    with rare_collections():
        front = open_front(path, options, clock, opened=_hash_ahead)
        report = compile_front(front, output, options, clock)
    return replace(report, seconds=time.monotonic() - start, stages=clock.finish())


def compile_front(
    front: Front,
    output: str | Path,
    options: CompileOptions | None = None,
    progress: Progress = quiet,
) -> Report:
    """Do what `compile_model` does with a model that is imported already; changes its module."""
    options, output = options or CompileOptions(), Path(output)
    start = time.monotonic()
    target = _check(output, options)
    lowering = lower_model(front, options, progress)
    lowering.inspector.close()
    build = lowering.build
    assert build.program is not None
    checks = lowering.inspector.checks
    manifest = describe(target, build, front.checkpoint, checks)
    size = _write(output, target, build, front.checkpoint, manifest, progress)
    return Report(
        artifact=output,
        bytes=size,
        kinds=layer_kinds(build.program.weights),
        pipeline=build.pipeline,
        step_bytes=sum(weight.step_bytes for weight in build.program.weights),
        levels=build.settings.levels,
        seconds=time.monotonic() - start,
        peak_memory=peak_memory(),
        passes=tuple(lowering.inspector.records),
        checks=tuple(checks),
        details=details_of(build, lowering.inspector) if options.inspection.report else {},
        devices=facts_of(manifest["targets"], build.files),
    )


def _hash_ahead(checkpoint: Checkpoint) -> None:
    """Hash the files of a checkpoint beside what comes first, which keeps one core busy."""

    def read_all() -> None:
        # What cannot be read is an error for who asks for its hash.
        with suppress(OSError):
            dict(checkpoint.sources)

    Thread(target=read_all, name="hashes", daemon=True).start()


def _check(output: Path, options: CompileOptions) -> Target:
    """Return the target; raises UsageError for what no model could make right."""
    target = find_target(options.target)
    check_options(target, options.settings)
    target.require()
    check_destination(output)
    return target


def _write(
    output: Path,
    target: Target,
    build: Build,
    checkpoint: Checkpoint,
    manifest: Mapping[str, Any],
    progress: Progress,
) -> int:
    program = build.program
    assert program is not None
    files = {**model_files(checkpoint), "graph.mlirbc": build.module.bytecode(), **build.files}
    names = [weight.name for weight in program.weights]
    places = {name: place for place, name in enumerate(names)}
    with packed_ahead(target, program.weights, checkpoint) as entries:
        return write_artifact(
            output,
            Contents(files, entries, manifest, build.later),
            lambda name: progress(WRITE, places[name], len(names)),
        )
