"""How often Python looks for cycles of objects that nothing refers to."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = (100_000, 50, 100)
"""Objects made between two looks at the youngest, and such looks between those at the older."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python look for cycles rarely within the block.

    Importing torch and tracing a model make millions of objects that stay, and few cycles: looking
    through them again and again takes a third of the time, to free a few megabytes.
    """
    before = gc.get_threshold()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
