"""What the kernels of convolutions and scans have in common: sequences, and columns in lanes.

A unit of work is a part of one sequence, all of whose tokens it takes in their order: so the bits
of a sequence depend neither on others in the step nor on how it was cut into steps.  A sequence
that begins in the step starts from zero.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ingot.targets.cpu.build import F32, I32, I64, Pointer, Value, constant, iota, loop, splat, when
from ingot.targets.cpu.kernel import Arguments, Slot

from .rounding import strided_slots

FLOAT = 4
LEAST_LANES = 16
_WORDS = 4  # of a sequence in the step's list


@dataclass(frozen=True)
class Columns:
    """`size` neighbouring floats, taken in blocks of `lanes`; the last block may be short."""

    size: int

    @property
    def lanes(self) -> int:
        """As many as divide the size, 16 where none do."""
        widths = (lanes for lanes in (64, 32, LEAST_LANES) if self.size % lanes == 0)
        return next(widths, LEAST_LANES)

    @property
    def blocks(self) -> int:
        """Blocks that hold them all."""
        return -(-self.size // self.lanes)

    @property
    def block_bytes(self) -> int:
        """Bytes of a block, the lanes behind the last column included."""
        return FLOAT * self.lanes

    def load(self, row: Pointer, block: Value) -> Value:
        """Return a block of a row, zeros behind the last column; no more is read."""
        place = row.at(block * self.block_bytes)
        if self.size % self.lanes == 0:
            return place.load(F32.x(self.lanes))
        return place.load_masked(F32.x(self.lanes), self._mask(block))

    def store(self, row: Pointer, block: Value, values: Value) -> None:
        """Write the columns of a block that exist."""
        place = row.at(block * self.block_bytes)
        if self.size % self.lanes == 0:
            place.store(values)
        else:
            place.store_masked(values, self._mask(block))

    def _mask(self, block: Value) -> Value:
        left = constant(I32, self.size) - block.to(I32) * self.lanes
        return iota(I32.x(self.lanes)) < splat(left, self.lanes)


@dataclass(frozen=True, eq=False)
class Span:
    """The tokens of one sequence in the step, and which part of it the unit takes."""

    arguments: Arguments
    first: Value
    count: Value
    position: Value
    slot: Value
    part: Value

    def state(self, bytes_per_sequence: int, bytes_per_part: int) -> Pointer:
        """Return the address of the part's state, cleared where the sequence begins."""
        place = self.arguments.pointer("state").at(self.slot * bytes_per_sequence)
        place = place.at(self.part * bytes_per_part)
        with when(self.position.equals(0)), loop(0, bytes_per_part, FLOAT * LEAST_LANES) as words:
            place.at(words.index).store(constant(F32.x(LEAST_LANES), 0.0))
        return place

    def row(self, name: str, token: Value) -> Pointer:
        """Return the row of a token of the sequence in the buffer called `name`."""
        stride = self.arguments.integer(f"{name}_stride")
        return self.arguments.pointer(name).at((self.first + token) * stride)


def state_slots(*buffers: str, weights: tuple[str, ...]) -> tuple[Slot, ...]:
    """Return the slots of strided buffers, of weights, of the state and of the sequences."""
    others = (Slot(name) for name in (*weights, "state", "sequences"))
    return (*strided_slots(*buffers), *others)


@contextmanager
def spans_of(arguments: Arguments, parts: int) -> Iterator[Span]:
    """Build a loop over this thread's units, of which every sequence has `parts`."""
    with loop(arguments.begin, arguments.end) as units:
        sequence, part = units.index // parts, units.index % parts
        words = arguments.pointer("sequences").at(sequence * (4 * _WORDS))
        first, count, position, slot = (words.load(I32, 4 * n).to(I64) for n in range(_WORDS))
        yield Span(arguments, first, count, position, slot, part)
