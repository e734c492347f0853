"""The search: every configuration is estimated, the best are priced by their own programs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ingot.errors import IngotError, UsageError
from ingot.passes import Pass

from .branching import branches
from .candidates import Candidate, Source
from .meshes import meshes_of, obstacle
from .pricing import Price, Priced
from .question import Begun, Progress, Question, label
from .request import Configuration
from .sizes import Sizes

USABLE = 0.98
"""Part of a device's memory that a program can have; the system keeps the rest."""
SURVIVORS = 3
"""How many meshes of each encoding and type of KV cache are priced by their own programs."""


@dataclass(frozen=True)
class Found:
    """What a search found: all candidates, best first, and the meshes that cannot be used."""

    candidates: tuple[Candidate, ...]
    obstacles: Mapping[str, str] = field(default_factory=dict)


def search(question: Question, progress: Progress) -> Found:
    """Estimate all configurations, price the most promising ones, and rank them all.

    Raises `UsageError` where no mesh divides the model, and what the passes raise for the model.
    """
    begun = Begun.of(question, _watch(progress))
    known, obstacles = _estimate(question, begun, progress)
    if not known:
        reasons = "; ".join(f"{mesh}: {why}" for mesh, why in obstacles.items())
        raise UsageError(
            f"no mesh of {question.devices} devices divides the model ({reasons})",
            hint="Plan for another number of devices.",
        )
    if question.devices > 1:
        known = _price(question, begun, known, progress)
    ranked = sorted(known, key=lambda one: one.rank(question.request))
    return Found(tuple(ranked), obstacles)


def _estimate(
    question: Question, begun: Begun, progress: Progress
) -> tuple[list[Candidate], dict[str, str]]:
    """Estimate every configuration from the undivided module in each encoding."""
    pipelines = {name: begun.rest(question.alone(name)) for name in question.encodings}
    obstacles: dict[str, str] = {}
    candidates: list[Candidate] = []
    done = 0
    for encoding, module in branches(begun.module, pipelines, _watch(progress)):
        done += 1
        progress(f"estimate {encoding}", done, len(pipelines))
        if isinstance(module, IngotError):
            raise module
        sizes = Sizes.of(module)
        priced = Priced(module, sizes)
        for mesh in meshes_of(question.devices):
            why = obstacle(mesh, sizes, question.request.batch)
            if why:
                obstacles[str(mesh)] = why
                continue
            for kv_dtype in question.kv_dtypes:
                configuration = Configuration(mesh, encoding, kv_dtype)
                candidates.append(_candidate(question, priced, configuration, "estimate"))
    return candidates, obstacles


def _price(
    question: Question, begun: Begun, estimated: Sequence[Candidate], progress: Progress
) -> list[Candidate]:
    """Price the best candidates of each encoding by the programs that the passes write for them.

    Whoever moves up when others cost more than was estimated, or are refused, is priced too.
    """
    known = {one.configuration: one for one in estimated}
    done = 0
    while chosen := _chosen(question, known.values()):
        total = done + len(chosen)
        for candidate in priced_by_programs(question, begun, chosen, _watch(progress)):
            known[candidate.configuration] = candidate
            done += 1
            progress(f"price {label(candidate.configuration)}", done, total)
    return list(known.values())


def _chosen(question: Question, known: Iterable[Candidate]) -> list[Candidate]:
    """Return whom to price next: those that are only estimated among the best of each group.

    Of what does not fit only the nearest is of interest.
    """
    places: dict[tuple[str, str], int] = {}
    chosen: list[Candidate] = []
    for one in sorted(known, key=lambda one: one.rank(question.request)):
        if one.refusal:
            continue
        group = one.configuration.encoding, one.configuration.kv_dtype
        place = places[group] = places.get(group, 0) + 1
        if place <= (SURVIVORS if one.fits else 1) and one.source == "estimate":
            chosen.append(one)
    return chosen


def priced_by_programs(
    question: Question, begun: Begun, chosen: Sequence[Candidate], watch: Callable[[Pass], None]
) -> Iterator[Candidate]:
    """Return the candidates, priced by the module that each device of their mesh runs.

    One that the passes refuse comes with the reason.
    """
    meshes: dict[tuple[str, str], list[Candidate]] = {}
    for one in chosen:
        meshes.setdefault((str(one.mesh), one.configuration.encoding), []).append(one)
    pipelines = {
        key: begun.rest(question.divided(ones[0].configuration)) for key, ones in meshes.items()
    }
    for key, module in branches(begun.module, pipelines, watch):
        if isinstance(module, IngotError):
            yield from (one.refused(module.message) for one in meshes[key])
            continue
        priced = Priced(module)
        for one in meshes[key]:
            yield _candidate(question, priced, one.configuration, "program")


def _candidate(
    question: Question, priced: Priced, configuration: Configuration, source: Source
) -> Candidate:
    price: Price = priced.on(
        configuration.mesh, question.load, question.hardware, configuration.kv_dtype
    )
    capacity = int(question.hardware.memory_bytes * USABLE)
    memory, decode, first = price.memory, price.decode, price.first
    return Candidate(configuration, question.load, capacity, memory, decode, first, source)


def _watch(progress: Progress) -> Callable[[Pass], None]:
    return lambda one: progress(one.name(), 0, 0)
