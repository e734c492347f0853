"""Keep jaxlib from importing jax where both are installed: nothing here needs it.

When jaxlib makes an array of one device it looks jax up for two of its classes, once as a class of
shapes, and goes on without them where there is no jax.  Importing it takes seconds, and threads and
plugins come with it.  A process that has imported jax already is left alone.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_SHAPES = "jax.core"


@dataclass(frozen=True)
class ArrayType:
    """What jaxlib asks of a description of an array."""

    shape: tuple[int, ...]
    dtype: Any
    weak_type: bool = False


@contextmanager
def without_jax() -> Iterator[None]:
    """Let this thread find no jax, unless the process has it already."""
    if "jax" in sys.modules:
        yield
        return
    finder = _NoJax(threading.get_ident())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def settle(make_array: Callable[[], object]) -> None:
    """Let jaxlib look its class of shapes up now; it keeps the answer for the whole process.

    It finds one that stands aside as soon as something imports jax, so that arrays which a user of
    jax then makes have the shapes that jax knows.
    """
    if "jax" in sys.modules:
        return
    package, module = ModuleType("jax"), ModuleType(_SHAPES)
    package.__path__ = []
    module.ShapedArray = _describe  # type: ignore[attr-defined]
    sys.modules |= {"jax": package, _SHAPES: module}
    try:
        make_array()
    finally:
        del sys.modules["jax"], sys.modules[_SHAPES]


def _describe(shape: tuple[int, ...], dtype: object, weak_type: bool = False) -> object:
    found: Any = getattr(sys.modules.get(_SHAPES), "ShapedArray", _describe)
    return (ArrayType if found is _describe else found)(shape, dtype, weak_type)


@dataclass(frozen=True)
class _NoJax(MetaPathFinder):
    thread: int

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "jax" and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(name)
        return None
