"""Going through a thread's share of the panels (16 outputs each) some at a time."""

from collections.abc import Callable

from ingot.targets.cpu.build import Value, loop
from ingot.targets.cpu.kernel import Arguments


def for_panels(arguments: Arguments, width: int, body: Callable[[Value, int], None]) -> None:
    """Call `body(first panel, how many)`: `width` at a time, then the rest one by one."""
    begin, end = arguments.begin, arguments.end
    whole = begin + (end - begin) // width * width
    with loop(begin, whole, width) as panels:
        body(panels.index, width)
    if width > 1:
        with loop(whole, end) as panels:
            body(panels.index, 1)
