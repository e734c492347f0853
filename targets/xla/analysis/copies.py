"""Values that a program makes anew at every step from weights alone: copies of them in memory.

A low-bit weight should be widened inside the kernel that multiplies with it.  Where XLA does not
do that, it writes the whole weight in a wider type to memory and reads it again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .hlo import Computation, HloModule, Instruction
from .walk import sum_known, trip_count

LEAST = 1 << 16
"""Elements from which on a copy is told of: smaller ones are norms, biases and scales."""

_NO_COPY = {"parameter", "bitcast", "constant", "optimization-barrier"}
_BESIDE = {"scales", "shifts", "minima"}
"""Parts of the names of what stands beside the codes of a weight, a small part of it."""
_NUMBER = re.compile(r"\.\d+\.")


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: the weight of the fewest bits, its name and its bits.

    No origin at all (None in its place) is a value that also depends on the step's inputs.
    """

    weight: str
    bits: int


NEUTRAL = Origin("", 1 << 30)
"""The origin of constants and of counters of loops, which weights may be joined with."""

Origins = tuple[Origin | None, ...]


@dataclass(frozen=True)
class WeightCopy:
    """A value outside kernels that is made of weights alone, or several alike.

    `weight` is the one that it is made from, numbers in its name left out, and `bytes` those of
    one copy.  `widened` says that its elements have more bits than those of the weight; others have
    another layout.  `on_chip` says that it stays in memory of the chip.  `count` stand in the
    program, and `times` are made in a step, None where that is not known.
    """

    weight: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    widened: bool
    on_chip: bool
    count: int
    times: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {**asdict(self), "shape": list(self.shape)}


def copies_of(module: HloModule, weights: Sequence[str]) -> tuple[WeightCopy, ...]:
    """Return what the program makes of its last parameters alone, whose names are `weights`.

    Weights that are only fetched into memory of the chip are left out.
    """
    parameters = module.entry.parameters
    first = len(parameters) - len(weights)
    origins = [
        _weight(one, weights[one.index - first]) if one.index >= first else None
        for one in parameters
    ]
    found: dict[WeightCopy, list[int | None]] = {}
    _Search(module, found).run(module.entry, [(origin,) for origin in origins], 1)
    return tuple(
        replace(copy, count=len(times), times=sum_known(times)) for copy, times in found.items()
    )


def _weight(parameter: Instruction, name: str) -> Origin:
    if _BESIDE & set(name.split(".")):
        return NEUTRAL
    large = [one.bits for one in parameter.results if one.elements >= LEAST]
    return Origin(_NUMBER.sub(".*.", name), min(large, default=NEUTRAL.bits))


@dataclass(frozen=True)
class _Search:
    """A walk through computations in the order of their instructions; copies go to `found`."""

    module: HloModule
    found: dict[WeightCopy, list[int | None]]

    def run(
        self, computation: Computation, parameters: Sequence[Origins], times: int | None
    ) -> Origins:
        """Follow a computation from the origins of its parameters; return those of its result."""
        known: dict[str, Origins] = {}
        for one in computation.instructions:
            known[one.name] = self._origins(computation, one, known, parameters, times)
        return known[computation.root.name]

    def _origins(
        self,
        computation: Computation,
        one: Instruction,
        known: Mapping[str, Origins],
        parameters: Sequence[Origins],
        times: int | None,
    ) -> Origins:
        if one.opcode == "parameter":
            return _spread(parameters[one.index], len(one.results))
        inputs = [known[name] for name in one.operands if name in known]
        if one.opcode == "while":
            return self._loop(computation, one, inputs[0], times)
        if one.opcode in ("call", "call-start", "async-start") and (called := self._callee(one)):
            return _spread(self.run(called, inputs, times), len(one.results))
        if one.opcode == "tuple":
            return tuple(origin for operand in inputs for origin in operand)
        if one.opcode == "get-tuple-element":
            return _element(computation, one, inputs[0])
        origin = _joined(inputs, one)
        if one.opcode not in _NO_COPY and not one.opcode.endswith(("-start", "-done")):
            for copy in _copies(one, origin):
                self.found.setdefault(copy, []).append(times)
        return (origin,) * len(one.results)

    def _callee(self, one: Instruction) -> Computation | None:
        names = one.called.get("to_apply") or one.called.get("calls")
        return self.module.computations[names[0]] if names else None

    def _loop(
        self, around: Computation, loop: Instruction, start: Origins, times: int | None
    ) -> Origins:
        body = self.module.computations[loop.called["body"][0]]
        inside = _invariant(body, start)
        trips = trip_count(self.module, around, loop)
        total = times * trips if times is not None and trips is not None else None
        self.run(body, [inside], total)
        return inside


def _invariant(body: Computation, start: Origins) -> Origins:
    """Return the origins inside a loop: what the body changes depends on more than weights."""
    root = body.root
    if root.opcode != "tuple" or len(root.operands) != len(start):
        return (None,) * len(start)
    kept: list[Origin | None] = []
    for place, (name, origin) in enumerate(zip(root.operands, start, strict=True)):
        one = body.by_name[name]
        same = one.opcode == "get-tuple-element" and one.index == place
        scalar = all(array.elements == 1 for array in one.results)
        kept.append(origin if same else NEUTRAL if scalar else None)
    return tuple(kept)


def _element(computation: Computation, one: Instruction, source: Origins) -> Origins:
    tuple_ = computation.by_name[one.operands[0]]
    if tuple_.opcode.endswith("-start") or len(source) != len(tuple_.results):
        return (source[0],) * len(one.results)
    return (source[one.index],)


def _spread(origins: Origins, results: int) -> Origins:
    return origins if len(origins) == results else (origins[0],) * results


def _joined(inputs: Sequence[Origins], one: Instruction) -> Origin | None:
    """Return the origin of a value made of `inputs`; numbers alone count as constants."""
    if all(array.elements == 1 for array in one.results):
        return NEUTRAL
    flat = [origin for origins in inputs for origin in origins]
    if one.opcode.endswith("-start") or one.opcode.endswith("-done"):
        flat = flat[:1]
    known = [origin for origin in flat if origin is not None]
    if len(known) < len(flat):
        return None
    return min(known, key=lambda origin: origin.bits, default=NEUTRAL)


def _copies(one: Instruction, origin: Origin | None) -> Iterator[WeightCopy]:
    if origin is None or origin.bits == NEUTRAL.bits:
        return
    for array in one.results:
        widened, on_chip = array.bits > origin.bits, array.space != 0
        if array.elements >= LEAST and (widened or not on_chip):
            yield WeightCopy(
                origin.weight, array.dtype, array.shape, array.bytes, widened, on_chip, 1, None
            )
