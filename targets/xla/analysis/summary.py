"""What the compiler made of a program, as far as its text tells: the analysis of one executable."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ingot.ir import Mesh

from .caches import CacheCopy, cache_copies_of
from .collectives import Collective, collectives_of
from .copies import WeightCopy, copies_of
from .hlo import HloModule, Instruction, parse_hlo
from .walk import places

_NO_WORK = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "fusion",
    "while",
    "call",
    "conditional",
    "iota",
    "after-all",
    "copy",
    "copy-start",
}
_MARKERS = {
    "ConcatBitcast",
    "AssumeGatherIndicesInBound",
    "PrepareAsyncCallStart",
    "PrepareAsyncCallDone",
}
"""Calls by which libtpu tells itself something; nothing is called."""


@dataclass(frozen=True)
class Analysis:
    """One optimised program, for one device.

    `operations` are those that compute or talk (a copy does neither), `fused` how many of them
    stand in a kernel with others.  `weight_bytes` are those of the weights among the parameters,
    by element type.  `kernels` are calls of code from outside XLA, by the name of what is called.
    """

    collectives: tuple[Collective, ...]
    copies: tuple[WeightCopy, ...]
    cache_copies: tuple[CacheCopy, ...]
    operations: int
    fused: int
    loops: int
    weight_bytes: Mapping[str, int]
    kernels: Mapping[str, int]

    @property
    def fused_share(self) -> float:
        """The share of operations that are in a kernel with others, 0 to 1."""
        return self.fused / self.operations if self.operations else 0.0

    @property
    def widened(self) -> tuple[WeightCopy, ...]:
        """The copies of weights in a wider type; there should be none."""
        return tuple(one for one in self.copies if one.widened)

    def bits_per_weight(self, weights: int) -> float:
        """Return the bits of parameters for each of a device's `weights`, scales included."""
        return 8 * sum(self.weight_bytes.values()) / weights

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {
            "collectives": [one.to_json() for one in self.collectives],
            "copies": [one.to_json() for one in self.copies],
            "cache_copies": [one.to_json() for one in self.cache_copies],
            "operations": self.operations,
            "fused": self.fused,
            "fused_share": self.fused_share,
            "loops": self.loops,
            "weight_bytes": dict(self.weight_bytes),
            "kernels": dict(self.kernels),
        }


def analyse(
    hlo: str, *, devices: int = 1, weights: Sequence[str] = (), mesh: Mesh | None = None
) -> Analysis:
    """Read the text of an optimised program that `devices` replicas run.

    The last parameters are weights, of the names `weights`.  `mesh` names the axes of collectives.
    """
    module = parse_hlo(hlo)
    first_weight = len(module.entry.parameters) - len(weights)
    operations, fused, loops, kernels = _counts(module)
    sizes: Counter[str] = Counter()
    for one in module.entry.parameters[first_weight:]:
        for array in one.results:
            sizes[array.dtype] += array.bytes
    return Analysis(
        collectives_of(module, devices, mesh),
        copies_of(module, weights),
        cache_copies_of(module),
        operations,
        fused,
        loops,
        sizes,
        kernels,
    )


def _counts(module: HloModule) -> tuple[int, int, int, Counter[str]]:
    """Return operations, those fused with others, loops, and calls of kernels by name."""
    operations = fused = loops = 0
    kernels: Counter[str] = Counter()
    for place in places(module):
        for one in place.computation.instructions:
            loops += one.opcode == "while"
            target = one.attribute("custom_call_target").strip('"')
            if one.opcode == "custom-call" and target not in _MARKERS:
                kernels[target] += 1
            if place.fused:
                continue
            inside = _inside(module, one) if one.opcode == "fusion" else 0
            operations += inside or _works(one)
            fused += inside if inside > 1 else 0
    return operations, fused, loops, kernels


def _inside(module: HloModule, fusion: Instruction) -> int:
    """Return how many operations a kernel has, those of kernels inside it included."""
    count = 0
    for name in fusion.called["calls"]:
        for one in module.computations[name].instructions:
            count += _inside(module, one) if one.opcode == "fusion" else _works(one)
    return count


def _works(one: Instruction) -> int:
    return int(one.opcode not in _NO_WORK and not one.opcode.endswith("-done"))
