"""What a target is: facts of a kind of hardware, and the stages that lower a module for it.

Targets are found by their folders and by entry points (`finding.py`); nobody lists them.  Their
stages take a `Build` from an imported module to a program and objects.  The names of the stages
also name the progress lines and the dump files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ingot.ir import Module, Value
from ingot.passes import Callback, parse_pipeline

from .hardware import Hardware
from .settings import Dtype as Dtype
from .settings import KvDtype as KvDtype
from .settings import Settings as Settings


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
    `coordinates` are those of the devices that hold it along the axes that divide it: the place in
    the mesh at which the expression is evaluated.  Each distinct part is a weight of its own, with
    them in its name, as in `weights.3@tp1` or `weights.3@tp1.pp0`.
    """

    name: str
    value: Value
    packing: str
    num_bytes: int
    step_bytes: int
    coordinates: Mapping[str, int] = field(default_factory=dict)


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
    manifest says of the target.  `later` are files that are still being made in the background: a
    call waits for the bytes.  In a `dry_run` nothing is compiled that takes long.
    """

    module: Module
    facts: ModelFacts
    settings: Settings
    watch: Callable[[str, object], None]
    pipeline: str = ""
    program: Program | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    notes: Mapping[str, object] = field(default_factory=dict)
    later: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    callback: Callback | None = None
    dry_run: bool = False

    def finished(self) -> "Build":
        """Return the build when nothing of it is being made any more."""
        made = {name: wait() for name, wait in self.later.items()}
        return replace(self, files={**self.files, **made}, later={})


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

    `name` is that of the family, `variant` tells its members apart.  `devices` is how many devices
    a mesh must have; 0: any number.  `mesh` is the mesh where the user names none.  `hardware` is
    what is published of one device, None where nothing is known before the program runs.
    `ignores` are the settings that mean nothing to the target, and are refused.  `require` raises
    `UnsupportedError` where a package that compiling needs is absent or of another version.
    `variants` are the members of the family as a user is told of them.
    """

    name: str
    description: str
    levels: tuple[str, ...]
    pipeline: Callable[[Settings], str]
    stages: tuple[Stage, ...]
    pack: Callable[[PackedWeight, Any], NDArray[np.uint8]]
    variant: str = ""
    devices: int = 1
    mesh: str = ""
    hardware: Hardware | None = None
    ignores: tuple[str, ...] = ()
    require: Callable[[], object] = lambda: None
    variants: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name as a user writes it: `cpu`, `tpu:v5e-8`."""
        return f"{self.name}:{self.variant}" if self.variant else self.name
