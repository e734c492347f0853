"""What of a module runs, how often, and inside what: computations reached from the entry."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .hlo import Computation, HloModule, Instruction


@dataclass(frozen=True)
class Place:
    """A computation that runs: `times` a step, None where a loop has no known count.

    `fused` says that it is a kernel's inside, `loops` how many loops are around it.
    """

    computation: Computation
    times: int | None
    fused: bool
    loops: int


def places(module: HloModule) -> Iterator[Place]:
    """Yield every computation that runs, once for every place that calls it.

    What reductions apply to pairs of elements is part of the reduction, and left out.
    """
    waiting = [Place(module.entry, 1, False, 0)]
    while waiting:
        place = waiting.pop()
        yield place
        for one in place.computation.instructions:
            waiting += _inside(module, place, one)


def _inside(module: HloModule, place: Place, one: Instruction) -> Iterator[Place]:
    called = one.called
    if one.opcode == "while":
        trips = trip_count(module, place.computation, one)
        known = trips is not None and place.times is not None
        times = (place.times or 0) * (trips or 0) if known else None
        body = module.computations[called["body"][0]]
        yield Place(body, times, place.fused, place.loops + 1)
        return
    fused = place.fused or one.opcode == "fusion"
    words = ["calls", "branch_computations", "true_computation", "false_computation"]
    words += ["to_apply"] if one.opcode in ("call", "call-start") else []
    words += ["called_computations"] if one.opcode.startswith(("call", "async")) else []
    for word in words:
        for name in called.get(word, ()):
            yield Place(module.computations[name], place.times, fused, place.loops)


def sum_known(times: Sequence[int | None]) -> int | None:
    """Return how often several places run together, None where one of them is not known."""
    known = [one for one in times if one is not None]
    return sum(known) if len(known) == len(times) else None


def trip_count(module: HloModule, around: Computation, loop: Instruction) -> int | None:
    """Return how often a loop runs, None where its bound is known only while it runs.

    XLA notes that for some backends; else the loop is read if it counts up to a constant.
    """
    if loop.noted_trips is not None:
        return loop.noted_trips
    condition = module.computations[loop.called["condition"][0]]
    body = module.computations[loop.called["body"][0]]
    test = condition.root
    if test.opcode != "compare" or test.attribute("direction") != "LT":
        return None
    counter = _element(condition, test.operands[0])
    if counter is None:
        return None
    first = _initial(around, loop, counter)
    bound = _constant(condition, test.operands[1])
    if bound is None and (place := _element(condition, test.operands[1])) is not None:
        bound = _initial(around, loop, place) if _kept(body, place) else None
    step = _step(around, loop, body, counter)
    if first is None or bound is None or not step:
        return None
    return max(0, -(-(bound - first) // step))


def _resolved(computation: Computation, name: str) -> Instruction:
    """Return the instruction behind copies of one value."""
    one = computation.by_name[name]
    while one.opcode in ("copy", "bitcast"):
        one = computation.by_name[one.operands[0]]
    return one


def _constant(computation: Computation, name: str) -> int | None:
    one = _resolved(computation, name)
    if one.opcode != "constant" or not re.fullmatch(r"-?\d+", one.literal):
        return None
    return int(one.literal)


def _element(computation: Computation, name: str) -> int | None:
    """Return which element of the computation's tuple a value is, None if it is none."""
    one = _resolved(computation, name)
    if one.opcode != "get-tuple-element":
        return None
    source = computation.by_name[one.operands[0]]
    return one.index if source.opcode == "parameter" else None


def _initial(around: Computation, loop: Instruction, element: int) -> int | None:
    tuple_ = around.by_name[loop.operands[0]]
    return _constant(around, tuple_.operands[element]) if tuple_.opcode == "tuple" else None


def _kept(body: Computation, element: int) -> bool:
    """Whether a loop's body hands an element of its tuple on as it is."""
    root = body.root
    return root.opcode == "tuple" and _element(body, root.operands[element]) == element


def _step(around: Computation, loop: Instruction, body: Computation, counter: int) -> int | None:
    """Return by how much the body counts up, None if it does something else."""
    if body.root.opcode != "tuple":
        return None
    sum_ = _resolved(body, body.root.operands[counter])
    if sum_.opcode != "add" or _element(body, sum_.operands[0]) != counter:
        return None
    step = _constant(body, sum_.operands[1])
    place = _element(body, sum_.operands[1])
    if step is None and place is not None and _kept(body, place):
        step = _initial(around, loop, place)
    return step
