"""The collectives of an optimised module: which devices talk, how much, and how often a step."""

import re
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ingot.ir import Mesh

from .hlo import Computation, HloModule, Instruction
from .walk import places, sum_known

_KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_OPCODES = {**{kind: kind for kind in _KINDS}, **{f"{kind}-start": kind for kind in _KINDS}}
_IOTA = re.compile(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_SET = re.compile(r"\{([\d,]+)\}")

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Collective:
    """One collective, or several alike.

    `bytes` is what one device puts in (of an all-gather what it gets), each time.  `count` is how
    many stand in the program, `times` how often they run in a step altogether, None where a loop
    around them has no known count.  `axes` are those of the mesh, None if the groups are no axis.
    """

    kind: str
    axes: tuple[str, ...] | None
    group_size: int
    groups: int
    bytes: int
    count: int
    times: int | None

    @property
    def step_bytes(self) -> int | None:
        """Bytes of a step altogether."""
        return None if self.times is None else self.bytes * self.times

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the bytes of a step as plain values."""
        return {**asdict(self), "step_bytes": self.step_bytes}


def collectives_of(module: HloModule, devices: int, mesh: Mesh | None) -> tuple[Collective, ...]:
    """Return the collectives of a module that `devices` replicas run, those alike as one.

    `mesh` names their axes; one with pipeline stages may have more devices than a stage.
    """
    found: dict[tuple[str, tuple[str, ...] | None, int, int, int], list[int | None]] = {}
    for place in places(module):
        for one in place.computation.instructions:
            if kind := _OPCODES.get(one.opcode):
                groups = _groups(one, devices)
                size = _payload(place.computation, one, len(groups[0]), kind)
                axes = axes_of(groups, _stage_mesh(mesh, devices))
                key = kind, axes, len(groups[0]), len(groups), size
                found.setdefault(key, []).append(place.times)
    return tuple(Collective(*key, len(times), sum_known(times)) for key, times in found.items())


def axes_of(groups: Groups, mesh: Mesh | None) -> tuple[str, ...] | None:
    """Return the axes of the mesh along which the devices of each group differ.

    The order of devices inside a group is left aside.  None where no axes give these groups.
    """
    wanted = {frozenset(group) for group in groups}
    names = [name for name, size in mesh.axes if size > 1] if mesh is not None else []
    for count in range(1, len(names) + 1):
        for axes in combinations(names, count):
            assert mesh is not None
            if _divided(mesh, axes) == wanted:
                return axes
    return None


def _divided(mesh: Mesh, axes: tuple[str, ...]) -> set[frozenset[int]]:
    found: dict[tuple[int, ...], set[int]] = {}
    for device in range(mesh.devices):
        where = mesh.coordinates(device)
        rest = tuple(place for name, place in where.items() if name not in axes)
        found.setdefault(rest, set()).add(device)
    return {frozenset(group) for group in found.values()}


def _stage_mesh(mesh: Mesh | None, devices: int) -> Mesh | None:
    """Return the mesh of the replicas: a stage's devices are numbered without the stages."""
    if mesh is None or mesh.devices == devices:
        return mesh
    return Mesh(tuple((name, size) for name, size in mesh.axes if name != "pp"))


def _groups(one: Instruction, devices: int) -> Groups:
    if one.opcode.startswith("collective-permute"):
        return _cycles(_SET.findall(one.attribute("source_target_pairs")))
    text = one.attribute("replica_groups")
    if match := _IOTA.match(text):
        shape, sizes = _numbers(match[1]), _numbers(match[2])
        order = np.arange(devices).reshape(sizes)
        if match[3]:
            order = order.transpose(_numbers(match[3]))
        return tuple(map(tuple, order.reshape(shape).tolist()))
    found = tuple(_numbers(group) for group in _SET.findall(text))
    return found or (tuple(range(devices)),)


def _cycles(pairs: list[str]) -> Groups:
    """Return the devices that pairs of source and target join, set by set."""
    sets: list[set[int]] = []
    for pair in pairs:
        joined = set(_numbers(pair))
        apart = [one for one in sets if not one & joined]
        sets = [*apart, joined.union(*(one for one in sets if one & joined))]
    return tuple(tuple(sorted(one)) for one in sets) or ((0,),)


def _payload(computation: Computation, one: Instruction, size: int, kind: str) -> int:
    operands = [computation.by_name[name] for name in one.operands]
    bytes_ = sum(array.bytes for operand in operands for array in operand.results)
    return bytes_ * size if kind == "all-gather" else bytes_


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))
