"""The text of an optimised HLO module as values: computations, their instructions, their arrays.

The grammar is that of `HloModule::ToString` in XLA, of which only what the analysis asks for is
read: names, types with their layouts, opcodes, operands, called computations and attributes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

_BITS = re.compile(r"^[a-z]+?(\d+)")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,<=]*)\](?:\{([^{}]*)\})?")
_ELEMENT_BITS = re.compile(r"E\((\d+)\)")
_SPACE = re.compile(r"S\((\d+)\)")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.~-]+) = (.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.~-]+) \(.*\) -> .*\{$")
_PARENTHESIS = re.compile(r"[()]")
_ABOUT = re.compile(r", (?:metadata|backend_config)=")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_DONATED = re.compile(r"\{\d*\}: \((\d+), \{\d*\}, (?:may|must)-alias\)")
_NAME = re.compile(r"%([\w.~-]+)")
_CALLED = re.compile(
    r"\b(calls|to_apply|body|condition|branch_computations|called_computations|"
    r"true_computation|false_computation)=(?:\{([^}]*)\}|%?([\w.~-]+))"
)


@dataclass(frozen=True)
class Array:
    """One array: the name of its element type, its sizes, bits of an element, memory space.

    Space 0 is the device's memory; others are on the chip.
    """

    dtype: str
    shape: tuple[int, ...]
    bits: int
    space: int = 0

    @property
    def elements(self) -> int:
        """How many elements there are."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the elements, padding left out."""
        return -(-self.elements * self.bits // 8)


@dataclass(frozen=True)
class Instruction:
    """One instruction; `results` are the arrays of its type, one after the other.

    `noted_trips` is how often a loop runs, where XLA has noted that.
    """

    name: str
    opcode: str
    results: tuple[Array, ...]
    operands: tuple[str, ...]
    literal: str
    attributes: str
    root: bool
    noted_trips: int | None

    @cached_property
    def called(self) -> Mapping[str, tuple[str, ...]]:
        """The computations that it calls, by the word that names them (`body`, `calls`)."""
        return {
            match[1]: tuple(_NAME.findall(match[2])) if match[2] is not None else (match[3],)
            for match in _CALLED.finditer(self.attributes)
        }

    def attribute(self, name: str) -> str:
        """Return the text of an attribute up to the next one; empty where there is none."""
        match = re.search(rf"\b{name}=(.*?)(?:, [a-z_]+=|$)", self.attributes)
        return match[1] if match else ""

    @property
    def index(self) -> int:
        """The number of a parameter, or of the element that is got."""
        return int(self.literal if self.opcode == "parameter" else self.attribute("index"))


@dataclass(frozen=True)
class Computation:
    """Instructions in their order, and by name."""

    name: str
    instructions: tuple[Instruction, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Instruction]:
        """The instructions by name."""
        return {one.name: one for one in self.instructions}

    @property
    def root(self) -> Instruction:
        """The instruction whose value the computation returns."""
        return next(one for one in self.instructions if one.root)

    @cached_property
    def parameters(self) -> tuple[Instruction, ...]:
        """The parameters in their order."""
        found = [one for one in self.instructions if one.opcode == "parameter"]
        return tuple(sorted(found, key=lambda one: one.index))


@dataclass(frozen=True)
class HloModule:
    """A module: its computations by name, and which of them it begins with.

    `donated` are the numbers of the parameters whose memory results take.
    """

    computations: Mapping[str, Computation]
    entry_name: str
    donated: frozenset[int]

    @property
    def entry(self) -> Computation:
        """The computation that the module begins with."""
        return self.computations[self.entry_name]


def parse_hlo(text: str) -> HloModule:
    """Read the text of one module."""
    computations: dict[str, Computation] = {}
    entry, name = "", ""
    instructions: list[Instruction] = []
    for line in text.splitlines():
        if line.startswith("}"):
            computations[name] = Computation(name, tuple(instructions))
        elif header := _COMPUTATION.match(line):
            name, instructions = header[2], []
            entry = name if header[1] else entry
        elif found := _INSTRUCTION.match(line):
            instructions.append(_instruction(found[2], found[3], bool(found[1])))
    assert entry, "the text has no ENTRY computation"
    about = text.partition("\n")[0]
    donated = frozenset(int(number) for number in _DONATED.findall(about))
    return HloModule(computations, entry, donated)


def _instruction(name: str, text: str, root: bool) -> Instruction:
    end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    start = text.index("(", end)
    close = _closing(text, start)
    inside = text[start + 1 : close]
    trips = _TRIPS.search(text, close)
    return Instruction(
        name,
        text[end:start].strip(),
        tuple(_array(*found) for found in _ARRAY.findall(text[:end])),
        tuple(_NAME.findall(inside)),
        inside,
        _ABOUT.split(text[close + 1 :], maxsplit=1)[0],
        root,
        int(trips[1]) if trips else None,
    )


def _closing(text: str, start: int) -> int:
    """Return the place of the parenthesis that closes the one at `start`."""
    depth = 0
    for found in _PARENTHESIS.finditer(text, start):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.start()
    raise AssertionError(f"a parenthesis stays open: {text[:200]}")


def _array(dtype: str, sizes: str, layout: str) -> Array:
    shape = tuple(int(size.lstrip("<=")) for size in sizes.split(",") if size)
    stated, space = _ELEMENT_BITS.search(layout), _SPACE.search(layout)
    named = _BITS.match(dtype)
    bits = int(stated[1]) if stated else max(8, int(named[1]) if named else 8)
    return Array(dtype, shape, bits, int(space[1]) if space else 0)
