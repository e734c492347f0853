"""What a target is: facts of a kind of hardware, and the stages that lower a module for it.

A target is a folder whose `targets/<name>/target.py` defines `TARGET`, or an entry point of the
group `ingot.targets`; nobody lists them.  Its stages take a `Build` from an imported module to a
program and objects.  The names of the stages also name the progress lines and the dump files.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ingot.extensions import Group, Owner
from ingot.ir import Module, Value
from ingot.passes import Callback, find_pass, parse_pipeline

GROUP = Group("ingot.targets", "target", "targets")

Dtype = Literal["float32", "bfloat16"]
KvDtype = Literal["auto", "float32", "bfloat16", "int8"]


@dataclass(frozen=True)
class Settings:
    """What a user asks of a compile.

    `linear` and `embedding` are encodings, "none" (keep floats), or "auto": what the checkpoint
    stores if that is quantised, the target's default otherwise.  `overrides` are
    `pattern=encoding`.  `dtype` is the type of weights that stay floats, "auto" as stored.
    `levels` are the instruction sets to carry, empty for all.  `pipeline`, where given, is run
    instead of the target's own passes, which `default` stands for in it; without that it says all
    of encodings and types itself.  `added` are passes with their places, as in `prune@after=raise`.
    """

    linear: str = "auto"
    embedding: str = "auto"
    overrides: tuple[str, ...] = ()
    dtype: Literal["auto"] | Dtype = "auto"
    kv_dtype: KvDtype = "auto"
    levels: tuple[str, ...] = ()
    pipeline: str = ""
    added: tuple[str, ...] = ()

    def passes(self, default: str) -> str:
        """Return the text of the passes to run, where `default` is that of the target's own."""
        chosen = parse_pipeline(self.pipeline or "default", {"default": default})
        for text in self.added:
            chosen = chosen.with_passes(text)
        return str(chosen)

    def quantize(self, linear: str, embedding: str) -> str:
        """Return the pass that encodes weights, where a target's defaults are as given.

        What is stored encoded is kept unless an encoding is asked for.
        """
        asked = self.linear != "auto"
        linear = self.linear if asked else linear
        if self.embedding != "auto":
            embedding = self.embedding
        elif linear == "none":
            embedding = "none"
        kind: Any = find_pass("quantize")
        chosen = kind(
            linear=linear,
            embedding=embedding,
            overrides=self.overrides,
            requantize=asked or self.embedding != "auto",
            float="" if self.dtype == "auto" else self.dtype,
        )
        return str(chosen)


class Kernel(Protocol):
    """A kernel that can be generated; its name says all that it is specialised to."""

    @property
    def name(self) -> str: ...


class PlanText(Protocol):
    """A target's plan, as the text of its file."""

    def text(self) -> str: ...


@dataclass(frozen=True)
class PackedWeight:
    """A tensor to write: a weight expression of the module, and the packing that kernels read.

    `step_bytes` is how much of it the decoding of one token reads: all, or a row of a table.
    """

    name: str
    value: Value
    packing: str
    num_bytes: int
    step_bytes: int


@dataclass(frozen=True)
class Program:
    """A lowered module: its plan, the kernels to generate and the weights to pack."""

    plan: PlanText
    kernels: tuple[Kernel, ...]
    weights: tuple[PackedWeight, ...]


@dataclass(frozen=True)
class ModelFacts:
    """What a target must know of the model beyond the module."""

    vocab_size: int
    max_positions: int


@dataclass(frozen=True)
class Build:
    """What is known of a compile so far; each stage returns one that knows more.

    `callback` sees the module before and after each pass; `watch` is called after other steps of a
    stage with a name and something printable.  `files` are those of the artifact, `notes` what its
    manifest says of the target.
    """

    module: Module
    facts: ModelFacts
    settings: Settings
    watch: Callable[[str, object], None]
    pipeline: str = ""
    program: Program | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)
    callback: Callback | None = None


def run_passes(build: Build, pipeline: str) -> Build:
    """Run the passes that `pipeline` writes, as the first stage of every target does."""
    parse_pipeline(pipeline).run(build.module, build.callback)
    return replace(build, pipeline=pipeline)


@dataclass(frozen=True)
class Stage:
    """One step of a compile."""

    name: str
    run: Callable[[Build], Build]


@dataclass(frozen=True)
class Target:
    """One kind of hardware.

    `levels` are the instruction sets that one artifact can carry, least demanding first.
    `pipeline` gives the text of the passes for some settings; `stages` begin with those passes.
    `pack` turns the value of a weight expression into the bytes of a packing.
    """

    name: str
    description: str
    levels: tuple[str, ...]
    pipeline: Callable[[Settings], str]
    stages: tuple[Stage, ...]
    pack: Callable[[PackedWeight, Any], NDArray[np.uint8]]


def find_target(name: str, extensions: Iterable[EntryPoint] | None = None) -> Target:
    """Return the target called `name`; raise `UsageError` if there is none or two owners of it.

    Raises `ExtensionError` if its distribution cannot be imported.
    """
    target = GROUP.find(name, target_names(extensions))
    assert isinstance(target, Target), f"targets/{name} has no TARGET"
    return target


def target_names(extensions: Iterable[EntryPoint] | None = None) -> dict[str, Owner]:
    """Return who defines each target: a folder of ours, or another distribution's entry point.

    `extensions` stands for the installed entry points; a test gives its own.
    """
    own = {name: Owner(name, f"targets/{name}", partial(_own, name)) for name in _own_folders()}
    return GROUP.owners(own, _accept, extensions)


def _own(name: str) -> object:
    return import_module(f"ingot.targets.{name}.target").TARGET


def _accept(owner: Owner, found: object) -> Target:
    if not isinstance(found, Target):
        raise GROUP.refuse(owner, found, "a value of ingot.targets.Target")
    return found


@cache
def _own_folders() -> tuple[str, ...]:
    here = Path(__file__).parent
    return tuple(module.name for module in iter_modules([str(here)]) if module.ispkg)
