"""The search: every configuration is estimated, the best are priced by their own programs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ingot.errors import IngotError, UsageError
from ingot.ir import Module
from ingot.passes import Pass, Pipeline, parse_pipeline
from ingot.targets import Hardware, KvDtype, ModelFacts, Settings, Target

from .branching import branches
from .candidates import Candidate, Source
from .meshes import meshes_of, obstacle
from .pricing import Price, Priced, Workload
from .request import CHUNK, Configuration, Request, encoded
from .sizes import Sizes

Progress = Callable[[str, int, int], None]
ALONE = "tp1"
"""The mesh of one device, for targets whose default has more."""
USABLE = 0.98
"""Part of a device's memory that a program can have; the system keeps the rest."""
SURVIVORS = 3
"""How many meshes of each encoding and type of KV cache are priced by their own programs."""


@dataclass(frozen=True)
class Question:
    """A model, a target and what is asked of them, all numbers given."""

    module: Module
    facts: ModelFacts
    target: Target
    hardware: Hardware
    settings: Settings
    request: Request
    devices: int
    encodings: tuple[str, ...]
    kv_dtypes: tuple[KvDtype, ...]

    @property
    def load(self) -> Workload:
        """What the devices are to do."""
        asked = self.request
        chunk = max(self.settings.prefill_tokens, default=CHUNK)
        return Workload(asked.batch, asked.context, asked.prompt, min(chunk, asked.prompt))

    def pipeline(self, settings: Settings) -> Pipeline:
        """Return the passes of the target for some settings."""
        return parse_pipeline(self.target.pipeline(settings))


@dataclass(frozen=True)
class Found:
    """What a search found: all candidates, best first, and the meshes that cannot be used."""

    candidates: tuple[Candidate, ...]
    obstacles: Mapping[str, str] = field(default_factory=dict)


def search(question: Question, progress: Progress) -> Found:
    """Estimate all configurations, price the most promising ones, and rank them all."""
    asked = question.request
    estimated, obstacles = _estimate(question, progress)
    if not estimated:
        reasons = "; ".join(f"{mesh}: {why}" for mesh, why in obstacles.items())
        raise UsageError(
            f"no mesh of {question.devices} devices divides the model ({reasons})",
            hint="Plan for another number of devices.",
        )
    if question.devices > 1:
        estimated = _price(question, estimated, progress)
    ranked = sorted(estimated, key=lambda one: one.rank(asked))
    return Found(tuple(ranked), obstacles)


def _estimate(question: Question, progress: Progress) -> tuple[list[Candidate], dict[str, str]]:
    """Estimate every configuration from the undivided module in each encoding."""
    undivided = {name: encoded(question.settings, name) for name in question.encodings}
    pipelines = {name: question.pipeline(_alone(s)) for name, s in undivided.items()}
    obstacles: dict[str, str] = {}
    candidates: list[Candidate] = []
    done, total = 0, len(pipelines)
    for encoding, module in branches(question.module, pipelines, _watch(progress)):
        progress(f"estimate {encoding}", done, total)
        done += 1
        if isinstance(module, IngotError):
            raise module
        priced = Priced(module, Sizes.of(module))
        assert priced.undivided is not None
        for mesh in meshes_of(question.devices):
            why = obstacle(mesh, priced.undivided, question.request.batch)
            if why:
                obstacles[str(mesh)] = why
                continue
            for kv_dtype in question.kv_dtypes:
                configuration = Configuration(mesh, encoding, kv_dtype)
                price = priced.on(mesh, question.load, question.hardware, kv_dtype)
                candidates.append(_candidate(question, configuration, price, "estimate"))
    return candidates, obstacles


def _price(
    question: Question, estimated: Sequence[Candidate], progress: Progress
) -> list[Candidate]:
    """Price the best candidates of each encoding by the programs that the passes write for them.

    Whoever moves up when others cost more than was estimated, or are refused, is priced too.
    """
    known = {one.configuration: one for one in estimated}
    done = 0
    while chosen := _chosen(question, known.values()):
        total = done + len(chosen)
        for candidate in _programs(question, chosen, _watch(progress)):
            known[candidate.configuration] = candidate
            done += 1
            progress(f"price {label(candidate.configuration)}", done, total)
    return list(known.values())


def _chosen(question: Question, known: Iterable[Candidate]) -> list[Candidate]:
    """Return whom to price next: those that are only estimated among the best of each group."""
    have: dict[tuple[str, str], int] = {}
    chosen: list[Candidate] = []
    for one in sorted(known, key=lambda one: one.rank(question.request)):
        place = have[_group(one)] = have.get(_group(one), 0) + (not one.refusal)
        if place <= SURVIVORS and one.source == "estimate" and not one.refusal:
            chosen.append(one)
    return chosen


def _group(candidate: Candidate) -> tuple[str, str]:
    return candidate.configuration.encoding, candidate.configuration.kv_dtype


def _programs(
    question: Question, chosen: Sequence[Candidate], watch: Callable[[Pass], None]
) -> Iterator[Candidate]:
    """Return the candidates, priced by the module that each device of their mesh runs."""
    meshes: dict[tuple[str, str], list[Candidate]] = {}
    for one in chosen:
        meshes.setdefault((str(one.mesh), one.configuration.encoding), []).append(one)
    settings = {
        key: ones[0].configuration.settings(question.settings) for key, ones in meshes.items()
    }
    pipelines = {key: question.pipeline(one) for key, one in settings.items()}
    for key, module in branches(question.module, pipelines, watch):
        for one in meshes[key]:
            if isinstance(module, IngotError):
                yield one.refused(str(module))
                continue
            kind = one.configuration.kv_dtype
            price = Priced(module).on(one.mesh, question.load, question.hardware, kind)
            yield _candidate(question, one.configuration, price, "program")


def _candidate(
    question: Question, configuration: Configuration, price: Price, source: Source
) -> Candidate:
    capacity = int(question.hardware.memory_bytes * USABLE)
    memory, decode, first = price.memory, price.decode, price.first
    return Candidate(configuration, question.load, capacity, memory, decode, first, source)


def _alone(settings: Settings) -> Settings:
    """Return the settings of a compile for one device."""
    return replace(settings, mesh=ALONE, sequence_parallel=False)


def label(configuration: Configuration) -> str:
    """Return what a configuration is called while it is worked on."""
    return f"{configuration.mesh} {configuration.encoding} {configuration.kv_dtype}"


def _watch(progress: Progress) -> Callable[[Pass], None]:
    return lambda one: progress(one.name(), 0, 0)
