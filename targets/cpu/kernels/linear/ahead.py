"""Asking for weights before they are loaded."""

from dataclasses import dataclass

from ingot.targets.cpu.build import Pointer, Value, keep_memory_order, loop, opaque

_LINE = 64
_TO_SECOND_CACHE, _TO_FIRST_CACHE = 2, 3


@dataclass(frozen=True)
class Ahead:
    """How many bytes before its load a line is asked for.

    `far`: to come from memory to the second cache; `near`: from there to the first, so that few
    loads wait, and requests to memory do not queue behind those that do.
    """

    far: int
    near: int

    def fetch(self, pointer: Pointer, offset: Value | int, size: int) -> None:
        """Ask for what lies ahead of `size` bytes at an offset; it need not be mapped.

        Line after line, first far, then near, before anything is loaded: mixed, on Zen 4, a quarter
        of the bandwidth is lost.
        """
        for distance, cache in ((self.far, _TO_SECOND_CACHE), (self.near, _TO_FIRST_CACHE)):
            with loop(0, opaque(size), _LINE) as line:
                pointer.prefetch(offset + line.index + distance, cache)
        keep_memory_order()
