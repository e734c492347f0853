"""What `ingot doctor` prints of a model."""

from collections.abc import Sequence

from .doctor import Diagnosis, Remainder

SHOWN = 8
WIDTH = 16


def format_diagnosis(found: Diagnosis) -> str:
    """Return the findings, a subject a line, and the verdict last."""
    lines = []
    if found.architecture:
        lines.append(_line("architecture", f"{found.architecture}, made to {found.task}"))
    if found.stored:
        parts = ", ".join(f"{count:,} {kind}" for kind, count in found.stored.items())
        lines.append(_line("parameters", f"{found.parameters:,}: {parts}"))
    if found.unused:
        lines.append(_line("unused weights", _some(found.unused)))
    if found.raised:
        parts = ", ".join(f"{count} {name}" for name, count in found.raised.items())
        lines.append(_line("raised", parts))
    generic = [one for one in found.remainders if not one.refusal]
    lines += _list("generic route", [_place(one) for one in generic])
    refused = [one for one in found.remainders if one.refusal]
    lines += _list(
        "unsupported", [f"{_place(one)}: as torch op it {one.refusal}" for one in refused]
    )
    for problem in found.problems:
        lines.append(_line("problem", problem.replace("\n", "\n" + " " * WIDTH)))
    return "\n".join([*lines, _line("verdict", verdict(found))])


def verdict(found: Diagnosis) -> str:
    """Return on one line whether the model compiles, and how much of it is raised."""
    if not found.compiles:
        return "does not compile"
    if not found.remainders:
        return "compiles, fully raised"
    count = sum(one.count for one in found.remainders)
    return f"compiles; {count} operations take the generic route, which is right but slower"


def _place(one: Remainder) -> str:
    return f"{one.count} {one.op} at {one.place}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _list(title: str, entries: Sequence[str]) -> list[str]:
    return [_line(title if number == 0 else "", entry) for number, entry in enumerate(entries)]


def _line(title: str, text: str) -> str:
    return f"{title:<{WIDTH}}{text}"
