"""A pipeline is a tuple of passes with one callback; its text form is the command line.

    parse_pipeline("raise,canonicalize,quantize{linear=int8}").run(module, callback)

Printing, timing, verifying and dumping are all that one callback.  The name of a named pipeline
stands for its passes.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ingot.errors import UsageError
from ingot.ir import Module

from .base import Pass
from .named import find_pipeline, pipeline_owners
from .options import parse_options
from .registry import find_pass, pass_owners

Phase = Literal["before", "after"]
Callback = Callable[[Pass, Module, Phase], None]

_NAME = r"([A-Za-z][\w-]*)"
_OPTIONS = r'(?:\{((?:[^{}"]|"(?:[^"\\]|\\.)*")*)\})?'
_STAGE = re.compile(rf"\s*{_NAME}{_OPTIONS}\s*(,|$)")
_PLACED = re.compile(rf"(.*?)@(after|before)={_NAME}\s*$", re.DOTALL)


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

    def with_passes(self, text: str) -> "Pipeline":
        """Return the pipeline with the passes of `PASSES`, `PASSES@after=PASS` or `…@before=PASS`.

        Without a place they come last; a place is behind the last pass of that name, or before the
        first.  Raises UsageError where none is called so.
        """
        placed = _PLACED.match(text)
        if placed is None:
            return self + parse_pipeline(text)
        added, side, name = parse_pipeline(placed[1]), placed[2], placed[3]
        places = [i for i, one in enumerate(self.passes) if one.name() == name]
        if not places:
            raise UsageError(
                f"no pass {name!r} to put {added} {side}",
                where="pipeline",
                hint=f"Passes: {', '.join(dict.fromkeys(p.name() for p in self.passes))}.",
            )
        at = places[-1] + 1 if side == "after" else places[0]
        return Pipeline((*self.passes[:at], *added.passes, *self.passes[at:]))


def parse_pipeline(text: str, names: Mapping[str, str] | None = None) -> Pipeline:
    """Return the pipeline that `text` writes; raise UsageError naming what cannot be read.

    `names` are pipelines (as text) beside those that are registered.
    """
    return Pipeline(_passes(text, names or {}, ()))


def _passes(text: str, names: Mapping[str, str], inside: tuple[str, ...]) -> tuple[Pass, ...]:
    """Return the passes of `text`, which stands in the pipelines `inside`."""
    passes: list[Pass] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        stage = _STAGE.match(text, position)
        if stage is None:
            raise UsageError(
                f"cannot read {text[position:]!r} in pipeline {text!r}",
                hint="Write names between commas, options in braces: raise,quantize{linear=int8}.",
            )
        passes += _stage(stage[1].replace("_", "-"), stage[2], names, inside)
        position = stage.end()
        if stage[3] == "," and position >= end:
            raise UsageError(f"pipeline {text!r} ends in a comma", hint="Drop it.")
    return tuple(passes)


def _stage(
    name: str, options: str | None, names: Mapping[str, str], inside: tuple[str, ...]
) -> tuple[Pass, ...]:
    """Return the pass of that name with its options, or the passes of a pipeline so called."""
    passes, pipelines = pass_owners(), pipeline_owners()
    if name in passes and name in pipelines:
        raise UsageError(
            f"a pass and a pipeline are called {name!r}: "
            f"{passes[name].source} and {pipelines[name].source}",
            hint="Rename one, or uninstall the distribution that brings it.",
        )
    if name not in names and name not in pipelines:
        return (parse_options(find_pass(name), options or "", where=f"pass {name}"),)
    if options is not None:
        raise UsageError(
            f"pipeline {name!r} takes no options", hint="Write its passes with their options out."
        )
    if name in inside:
        raise UsageError(
            f"pipeline {name!r} stands in itself: {' in '.join((name, *reversed(inside)))}",
            hint="Take its name out of its passes.",
        )
    text = names[name] if name in names else find_pipeline(name).text
    return _passes(text, names, (*inside, name))
