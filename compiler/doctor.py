"""Examines a model before it is compiled: what is raised, what is not, and what stands in the way.

Nothing is read of the weights but their types and shapes, and they need not be there: the
`config.json` alone says what the architecture is.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from ingot.errors import CheckpointError, IngotError
from ingot.ir import Module
from ingot.models import Checkpoint, import_model, open_blueprint, open_checkpoint
from ingot.passes import Unraised, parse_pipeline, step_block, unraised

from .kinds import generic_name

RAISING = "raise,canonicalize,select-rows"


@dataclass(frozen=True)
class Remainder:
    """A torch op that stays one: how often, where (layers as `*`), and why it is refused, if so."""

    op: str
    place: str
    count: int
    refusal: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What is known of a model before it is compiled.

    `stored` counts parameters by how they are stored, `raised` the ops of the `lm` dialect by name.
    `problems` are messages that each keep the model from compiling.
    """

    name: str
    architecture: str = ""
    task: str = ""
    parameters: int = 0
    stored: Mapping[str, int] | None = None
    unused: tuple[str, ...] = ()
    raised: Mapping[str, int] | None = None
    remainders: tuple[Remainder, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def compiles(self) -> bool:
        """Whether nothing that was found keeps the model from compiling."""
        return not self.problems and not any(one.refusal for one in self.remainders)


def examine(path: str | Path) -> Diagnosis:
    """Examine a checkpoint, or a `config.json` alone; raises no `IngotError` of the model's."""
    path = Path(path)
    problems: list[str] = []
    checkpoint: Checkpoint | None = None
    try:
        checkpoint = open_checkpoint(path) if has_weights(path) else open_blueprint(path)
    except CheckpointError as error:
        problems.append(str(error))
        checkpoint = _blueprint(path)
    except IngotError as error:
        problems.append(str(error))
    if checkpoint is None:
        return Diagnosis(name=path.name, problems=tuple(problems))
    try:
        module = import_model(checkpoint)
        parse_pipeline(RAISING).run(module)
        rest = tuple(_grouped(unraised(module)))
        if not any(one.refusal for one in rest):
            parse_pipeline("outline").run(module)
    except IngotError as error:
        return _diagnosis(checkpoint, problems=(*problems, str(error)))
    return _diagnosis(checkpoint, module, rest, tuple(problems))


def has_weights(path: Path) -> bool:
    """Return whether a path is to be opened as a checkpoint, not as a configuration."""
    if path.is_dir():
        kinds = ("*.safetensors", "*.index.json", "*.bin", "*.pt", "*.pth")
        return any(next(path.glob(kind), None) for kind in kinds)
    return path.name != "config.json"


def _blueprint(path: Path) -> Checkpoint | None:
    """Return what the configuration of a damaged checkpoint says, if it says anything."""
    if not (path / "config.json").is_file():
        return None
    try:
        return open_blueprint(path)
    except IngotError:
        # The first error has told already that this checkpoint cannot be opened.
        return None


def _diagnosis(
    checkpoint: Checkpoint,
    module: Module | None = None,
    remainders: tuple[Remainder, ...] = (),
    problems: tuple[str, ...] = (),
) -> Diagnosis:
    weights = checkpoint.weights
    stored: Counter[str] = Counter()
    for name in weights:
        if name not in checkpoint.tied and name not in checkpoint.computed:
            info = weights.info(name)
            stored[str(info.stored).removeprefix("torch.")] += prod(info.shape)
    return Diagnosis(
        name=checkpoint.name,
        architecture=checkpoint.config.model_type,
        task=checkpoint.head.task,
        parameters=sum(stored.values()),
        stored=dict(stored.most_common()),
        unused=checkpoint.unused,
        raised=None if module is None else _raised(module),
        remainders=remainders,
        problems=problems,
    )


def _raised(module: Module) -> dict[str, int]:
    names = (op.operation.name for op in step_block(module).operations)
    known = Counter(name for name in names if name.startswith("lm."))
    for plumbing in ("lm.weight", "lm.to_torch", "lm.from_torch"):
        known.pop(plumbing, None)
    return dict(known.most_common())


def _grouped(ops: list[Unraised]) -> list[Remainder]:
    """Count ops that differ by their layer alone."""
    counts = Counter((one.op, _any_layer(one.place), one.refusal) for one in ops)
    return [Remainder(op, place, n, refusal) for (op, place, refusal), n in counts.items()]


def _any_layer(place: str) -> str:
    path, space, source = place.partition(" ")
    return f"{generic_name(path + '.').removesuffix('.')}{space}{source}"
