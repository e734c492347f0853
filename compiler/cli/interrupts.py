"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt in whatever runs when the signal comes; inside a callback of the
bindings or a destructor it is printed and forgotten.  So the signal is also noted, and asked for
between the steps of a long command.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noting_interrupts() -> Iterator[Callable[[], None]]:
    """Give a function that raises KeyboardInterrupt if Ctrl-C has come since the block began."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    noted = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        noted.set()
        raise KeyboardInterrupt

    def check() -> None:
        if noted.is_set():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
