"""Asking for weights before they are loaded: which way loses least depends on the arithmetic."""

from dataclasses import dataclass

from ingot.targets.cpu.build import (
    TO_FIRST_CACHE,
    TO_SECOND_CACHE,
    Pointer,
    Value,
    keep_memory_order,
    loop,
    opaque,
)

_LINE = 64


@dataclass(frozen=True)
class LineAhead:
    """Each line, as it is loaded, asks for that `distance` bytes behind it.

    With loads in the order of memory the hardware prefetcher does the rest.
    """

    distance: int

    def before_block(self, pointer: Pointer, offset: Value | int, size: int) -> None:
        """Ask for nothing."""

    def before_line(self, pointer: Pointer, offset: Value | int) -> None:
        """Ask for what lies ahead of the line at an offset, and keep loads in order."""
        pointer.prefetch(offset + self.distance, TO_SECOND_CACHE)
        keep_memory_order()


@dataclass(frozen=True)
class BlockAhead:
    """Blocks ask for others before they are loaded, by distances in bytes.

    `far`: to come from memory to the second cache; `near`: from there to the first, so that few
    loads wait, and requests to memory do not queue behind those that do.
    """

    far: int
    near: int

    def before_block(self, pointer: Pointer, offset: Value | int, size: int) -> None:
        """Ask for what lies ahead of `size` bytes at an offset; it need not be mapped.

        Line after line, first far, then near: mixed, on Zen 4, a quarter of the bandwidth is lost.
        """
        for distance, cache in ((self.far, TO_SECOND_CACHE), (self.near, TO_FIRST_CACHE)):
            with loop(0, opaque(size), _LINE) as line:
                pointer.prefetch(offset + line.index + distance, cache)
        keep_memory_order()

    def before_line(self, pointer: Pointer, offset: Value | int) -> None:
        """Ask for nothing."""


Ahead = LineAhead | BlockAhead
