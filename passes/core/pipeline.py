"""A pipeline is a tuple of passes with one callback; its text form is the command line.

    parse_pipeline("raise,canonicalize,quantize{linear=int8}").run(module, callback)

Printing, timing, verifying and dumping are all that one callback.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ingot.errors import UsageError
from ingot.ir import Module

from .base import Pass
from .options import parse_options
from .registry import find_pass

Phase = Literal["before", "after"]
Callback = Callable[[Pass, Module, Phase], None]

_STAGE = re.compile(r'\s*([A-Za-z][\w-]*)(?:\{((?:[^{}"]|"(?:[^"\\]|\\.)*")*)\})?\s*(,|$)')


@dataclass(frozen=True)
class Pipeline:
    """Passes in order.  `str` gives the text that `parse_pipeline` reads back."""

    passes: tuple[Pass, ...]

    def run(self, module: Module, callback: Callback | None = None) -> None:
        """Run every pass on `module`, in place; `callback` sees it before and after each.

        The module is verified after each pass; a failure there is a bug of that pass.
        """
        for one in self.passes:
            if callback is not None:
                callback(one, module, "before")
            one.run(module)
            module.verify(f"module after pass {one}")
            if callback is not None:
                callback(one, module, "after")

    def __add__(self, other: "Pipeline") -> "Pipeline":
        return Pipeline(self.passes + other.passes)

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))


def parse_pipeline(text: str) -> Pipeline:
    """Return the pipeline that `text` writes; raise UsageError naming what cannot be read."""
    passes: list[Pass] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        stage = _STAGE.match(text, position)
        if stage is None:
            raise UsageError(
                f"cannot read {text[position:]!r} in pipeline {text!r}",
                hint="Write names between commas, options in braces: raise,quantize{linear=int8}.",
            )
        name = stage[1].replace("_", "-")
        passes.append(parse_options(find_pass(name), stage[2] or "", where=f"pass {name}"))
        position = stage.end()
        if stage[3] == "," and position >= end:
            raise UsageError(f"pipeline {text!r} ends in a comma", hint="Drop it.")
    return Pipeline(tuple(passes))
