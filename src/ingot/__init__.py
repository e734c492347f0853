"""Ingot compiles a language model into a measured, self-contained artifact and serves it.

The two names that a user of the Python interface needs are here; they load on first use, so that
`import ingot` alone costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingot.runtime import LLM, SamplingParams

__version__ = "0.1.0"
__all__ = ["LLM", "SamplingParams", "__version__"]


def __getattr__(name: str) -> object:
    if name in ("LLM", "SamplingParams"):
        from ingot import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module 'ingot' has no attribute {name!r}")
