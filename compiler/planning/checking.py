"""Asks the target's own compiler whether the best candidates fit, by doing all of a compile."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ingot.errors import IngotError
from ingot.targets import Build, Settings

from .candidates import Candidate
from .question import Progress, Question, label

WANTED = 3
"""How many configurations are to be accepted, over all."""
TRIES = 6
"""The most that are compiled for that."""
SMALL_CHUNK = 32
"""The tokens of the smaller of the two steps that read prompts, which is compiled quickly."""


def check_best(
    question: Question, ranked: Sequence[Candidate], progress: Progress
) -> Iterator[Candidate]:
    """Return the best candidates as the compiler has them, until it has accepted enough.

    One that it refuses comes with the reason.  The best of each encoding comes before the second
    best of any.
    """
    accepted = 0
    for candidate in _in_turn(ranked)[:TRIES]:
        if accepted == WANTED:
            return
        progress(f"compile {label(candidate.configuration)}", accepted, WANTED)
        checked = check(question, candidate, progress)
        accepted += checked.fits
        yield checked


def check(question: Question, candidate: Candidate, progress: Progress) -> Candidate:
    """Return a candidate with the bytes that the compiler states, or with the reason of a refusal.

    The steps are those of the workload: all sequences at once, and prompts by chunks.
    """
    settings = _settings(question, candidate)
    build = Build(
        question.module.clone(),
        question.facts,
        settings,
        lambda name, value: progress(f"{name} of {label(candidate.configuration)}", 0, 0),
    )
    try:
        for stage in question.target.stages:
            build = stage.run(build)
    except IngotError as error:
        needs = getattr(error, "needs", 0)
        if needs:
            return replace(candidate, stated=int(needs), source="compiler")
        return candidate.refused(error.message)
    stated = stated_bytes(build.notes)
    return replace(candidate, stated=stated, source="compiler") if stated else candidate


def stated_bytes(notes: Mapping[str, Any]) -> int:
    """Return the most bytes that a program of a compile takes of a device, 0 where none is said."""
    programs: Mapping[str, Any] = notes.get("programs", {})
    return max((int(facts["memory"]["total"]) for facts in programs.values()), default=0)


def _settings(question: Question, candidate: Candidate) -> Settings:
    load, mesh = candidate.load, candidate.mesh
    tokens = 16 * mesh.size("cp")
    pages = load.sequences(mesh) * -(-load.context // tokens)
    return replace(
        candidate.configuration.settings(question.settings),
        context=load.context,
        kv_pages=pages * mesh.data_groups,
        decode_batches=(load.sequences(mesh),),
        prefill_tokens=tuple(sorted({min(SMALL_CHUNK, load.chunk), load.chunk})),
    )


def _in_turn(ranked: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that seem to fit: the best of every encoding, then the second best."""
    places: dict[str, int] = {}
    order: list[tuple[int, int, Candidate]] = []
    for number, one in enumerate(ranked):
        if one.fits and one.source == "program":
            place = places[one.configuration.encoding] = (
                places.get(one.configuration.encoding, 0) + 1
            )
            order.append((place, number, one))
    return [one for _, _, one in sorted(order, key=lambda entry: entry[:2])]
