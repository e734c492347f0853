"""From a checkpoint to an artifact: import, the target's stages, then writing."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ingot.errors import UnsupportedError, UsageError
from ingot.ir import Encoding, Module, shape_of
from ingot.models import Checkpoint, import_model, open_checkpoint
from ingot.passes import parse_pipeline
from ingot.targets import (
    Build,
    ModelFacts,
    Program,
    Settings,
    Target,
    find_target,
)

from .artifact import Contents, check_destination, write_artifact
from .dump import Dump
from .kinds import layer_kinds
from .manifest import describe, model_files
from .report import Report
from .weights import packed_ahead

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: unknown)."""


@dataclass(frozen=True)
class CompileOptions:
    """What a user asks of a compile; `dump` is a folder for numbered stage files."""

    target: str = "cpu"
    settings: Settings = field(default_factory=Settings)
    dump: Path | None = None


def compile_model(
    path: str | Path,
    output: str | Path,
    options: CompileOptions | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Compile the checkpoint at `path` into the artifact `output`.

    Raises `CheckpointError` or `UnsupportedError` for a model that cannot be compiled, `UsageError`
    for options, `ArtifactError` where the disk refuses; nothing half-written stays behind.
    """
    options, output = options or CompileOptions(), Path(output)
    start = time.monotonic()
    target = find_target(options.target)
    check_options(target, options.settings)
    check_destination(output)
    progress("open", 0, 0)
    checkpoint = open_checkpoint(path)
    _check_partial_encoding(options.settings, checkpoint)
    progress("import", 0, 0)
    module = import_model(checkpoint)
    build = _run_stages(target, module, checkpoint, options, progress)
    assert build.program is not None
    size = _write(output, target, build, checkpoint, progress)
    return Report(
        artifact=output,
        bytes=size,
        kinds=layer_kinds(build.program.weights),
        pipeline=build.pipeline,
        step_bytes=sum(weight.step_bytes for weight in build.program.weights),
        levels=build.settings.levels,
        seconds=time.monotonic() - start,
        peak_memory=_peak_memory(),
    )


def check_options(target: Target, settings: Settings) -> None:
    """Raise `UsageError` for options that no model could make right, before any work is done."""
    parse_pipeline(target.pipeline(settings))
    for level in settings.levels:
        if level not in target.levels:
            raise UsageError(
                f"target {target.name} has no level {level!r}",
                hint=f"Levels: {', '.join(target.levels)}.",
            )


def lower_model(module: Module, checkpoint: Checkpoint, options: CompileOptions) -> Build:
    """Run the target's stages on an imported module, without writing anything."""
    target = find_target(options.target)
    check_options(target, options.settings)
    return _run_stages(target, module, checkpoint, options, lambda what, done, total: None)


def _run_stages(
    target: Target,
    module: Module,
    checkpoint: Checkpoint,
    options: CompileOptions,
    progress: Progress,
) -> Build:
    dump = Dump(options.dump)
    dump.write("import", module)

    def watch(name: str, value: object) -> None:
        progress(name, 0, 0)
        dump.write(name, value)

    build = Build(module, _facts(module, checkpoint), options.settings, watch)
    for stage in target.stages:
        progress(stage.name, 0, 0)
        build = stage.run(build)
    dump.write_pipeline(build.pipeline)
    return build


def _check_partial_encoding(settings: Settings, checkpoint: Checkpoint) -> None:
    """Refuse to encode some weights of a quantised checkpoint anew while others are to be kept."""
    infos = map(checkpoint.weights.info, checkpoint.weights)
    stores_encoded = any(isinstance(info.stored, Encoding) for info in infos)
    partial = settings.embedding != "auto" or settings.overrides
    if stores_encoded and partial and settings.linear == "auto":
        raise UsageError(
            "the checkpoint is quantised, and only some of its weights are to be encoded anew",
            where=checkpoint.name,
            hint="Say with --quantize what the other weights become.",
        )


def _facts(module: Module, checkpoint: Checkpoint) -> ModelFacts:
    """Return the sizes that the module or the configuration gives."""
    logits = module.step.type.results[0]
    config = checkpoint.config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        raise UnsupportedError(
            f"the configuration of {config.model_type} has no max_position_embeddings",
            where="config.json",
            hint="Add the number of positions that the model was trained for.",
        )
    return ModelFacts(vocab_size=shape_of(logits)[-1], max_positions=positions)


def _write(
    output: Path, target: Target, build: Build, checkpoint: Checkpoint, progress: Progress
) -> int:
    program = build.program
    assert program is not None
    files = {**model_files(checkpoint), "graph.mlirbc": build.module.bytecode(), **build.files}
    manifest = describe(target, build, checkpoint)
    names = [weight.name for weight in program.weights]
    places = {name: place for place, name in enumerate(names)}
    with packed_ahead(target, program.weights, checkpoint) as entries:
        return write_artifact(
            output,
            Contents(files, entries, manifest),
            lambda name: progress("write", places[name], len(names)),
        )


def _peak_memory() -> int:
    """Return the most bytes that were resident at once in this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


__all__ = ["CompileOptions", "Program", "Progress", "compile_model", "lower_model"]
