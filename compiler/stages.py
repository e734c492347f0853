"""A compile up to the point where weights are read: import, then the target's stages."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ingot.errors import UnsupportedError, UsageError
from ingot.ir import Encoding, Module, shape_of
from ingot.models import Checkpoint, import_model, open_checkpoint
from ingot.passes import Pass, Phase, parse_pipeline
from ingot.targets import AUTO, Build, ModelFacts, Settings, Target, check_mesh, find_target

from .auto_mesh import with_chosen_mesh
from .inspection import Inspection, Inspector, check_names, cut, sample_for
from .pooled_head import with_defaults

UNBOUNDED = 1 << 17
"""Positions of a sequence where nothing in the model bounds them."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: unknown)."""

OPEN, IMPORT = "open", "import"


def quiet(what: str, done: int, total: int) -> None:
    """Tell nobody of the progress."""


@dataclass(frozen=True)
class CompileOptions:
    """What a user asks of a compile, and wants to see of it."""

    target: str = "cpu"
    settings: Settings = field(default_factory=Settings)
    inspection: Inspection = field(default_factory=Inspection)


@dataclass(frozen=True)
class Front:
    """A checkpoint, and its architecture as a module in the torch dialect."""

    checkpoint: Checkpoint
    module: Module


@dataclass(frozen=True)
class Lowering:
    """A module after the target's stages, and what was seen of the passes.

    `last` is what the last of them gave: the module, or something to print, such as the plan.
    """

    build: Build
    inspector: Inspector
    last: object


def check_options(target: Target, settings: Settings) -> None:
    """Raise `UsageError` for options that no model could make right, before any work is done."""
    for name in target.ignores:
        if getattr(settings, name) != getattr(Settings, name):
            raise UsageError(
                f"--{name.replace('_', '-')} means nothing to target {target.label}",
                hint="Leave it away, or choose another --target.",
            )
    check_mesh(target, settings)
    if settings.mesh != AUTO:
        parse_pipeline(target.pipeline(settings))
    for level in settings.levels:
        if level not in target.levels:
            known = (
                f"Levels: {', '.join(target.levels)}." if target.levels else "Leave --levels away."
            )
            raise UsageError(f"target {target.label} has no level {level!r}", hint=known)


def open_front(
    path: str | Path,
    options: CompileOptions,
    progress: Progress = quiet,
    opened: Callable[[Checkpoint], None] = lambda checkpoint: None,
) -> Front:
    """Open a checkpoint and import it; of the weights nothing but headers is read.

    `opened` is called with the checkpoint before it is imported.
    """
    progress(OPEN, 0, 0)
    checkpoint = open_checkpoint(path)
    opened(checkpoint)
    _check_partial_encoding(options.settings, checkpoint)
    progress(IMPORT, 0, 0)
    return Front(checkpoint, import_model(checkpoint))


def lower_model(
    front: Front, options: CompileOptions, progress: Progress = quiet, *, dry_run: bool = False
) -> Lowering:
    """Run the target's stages on an imported module, without writing anything.

    They end after the pass or stage that the inspection names, if it names one.  In a `dry_run`
    they leave out what takes long and changes nothing of the plan.
    """
    options = replace(options, settings=with_defaults(options.settings, front.checkpoint))
    target = find_target(options.target)
    check_options(target, options.settings)
    facts = model_facts(front)
    chosen = with_chosen_mesh(
        front.checkpoint, front.module, facts, target, options.settings, progress
    )
    options = replace(options, settings=chosen)
    settings, count = _until(target, options)
    inspector = Inspector(options.inspection)
    inspector.verify_with(front.checkpoint.weights, sample_for(front.module))
    inspector.dump.write(IMPORT, front.module)
    last: list[object] = [front.module]

    def watch(name: str, value: object) -> None:
        progress(name, 0, 0)
        last[:] = [value]
        inspector.dump.write(name, value)

    def callback(one: Pass, module: Module, phase: Phase) -> None:
        if phase == "before":
            progress(one.name(), 0, 0)
        inspector.callback(one, module, phase)

    build = Build(front.module, facts, settings, watch, callback=callback, dry_run=dry_run)
    for stage in target.stages[:count]:
        progress(stage.name, 0, 0)
        build = stage.run(build)
    inspector.dump.write_pipeline(build.pipeline)
    return Lowering(build, inspector, last[0])


def _until(target: Target, options: CompileOptions) -> tuple[Settings, int]:
    """Return the settings, and how many stages to run, so that all ends where it is asked to."""
    passes = parse_pipeline(target.pipeline(options.settings))
    stop = options.inspection.stop_after
    stages = [IMPORT, *(stage.name for stage in target.stages)]
    check_names(options.inspection, passes, tuple(stages))
    if not stop:
        return options.settings, len(target.stages)
    if stop in stages:
        return options.settings, stages.index(stop)
    # The passes are the first stage.
    return replace(options.settings, pipeline=str(cut(passes, stop))), 1


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


def model_facts(front: Front) -> ModelFacts:
    """Return the sizes that the module or the configuration gives."""
    logits = front.module.step.type.results[0]
    config = front.checkpoint.config.get_text_config()
    pools = front.checkpoint.head.task != "generate"
    return ModelFacts(
        vocab_size=config.vocab_size if pools else shape_of(logits)[-1],
        max_positions=_positions(front) - front.checkpoint.position_offset,
    )


def _positions(front: Front) -> int:
    """Return how many positions the model knows; many for one that does not look at positions."""
    config = front.checkpoint.config.get_text_config()
    for name in ("max_position_embeddings", "max_seq_len"):
        positions = getattr(config, name, None)
        if isinstance(positions, int) and positions > 0:
            return min(positions, front.checkpoint.position_limit or positions)
    if _reads_positions(front.module):
        raise UnsupportedError(
            f"the configuration of {config.model_type} has no max_position_embeddings",
            where="config.json",
            hint="Add the number of positions that the model was trained for.",
        )
    return UNBOUNDED


def _reads_positions(module: Module) -> bool:
    """Return whether anything but the number of tokens is taken from the positions."""
    crossings = [use.owner for use in module.step.entry_block.arguments[1].uses]
    readers = [use.owner for crossing in crossings for r in crossing.results for use in r.uses]
    return any(reader.operation.name != "torch.aten.size.int" for reader in readers)
