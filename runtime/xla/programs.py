"""Where a plan's executables come from: the artifact, the cache folder, or XLA here and now."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingot.errors import ArtifactError
from ingot.executables import Entry, ExecutableCache, default_cache, executable_key, platform_build
from ingot.runtime.artifact import Artifact

from .pjrt import Group, Program
from .plan import StageFiles, Step, XlaPlan

log = logging.getLogger("ingot.xla")


@dataclass(frozen=True)
class Programs:
    """The programs of a plan, each made ready when it is first needed.

    An executable is machine code for one build of XLA: that of the artifact serves where it was
    compiled by the build at hand.  Else the program, which every build reads, is compiled once and
    kept in the cache folder.
    """

    artifact: Artifact
    plan: XlaPlan
    stages: Sequence[Group]
    cache: ExecutableCache = field(default_factory=default_cache)
    _ready: dict[tuple[Step, int], Program] = field(default_factory=dict)

    @property
    def build(self) -> str:
        """The build of XLA on this machine."""
        return platform_build(self.plan.platform)

    def get(self, step: Step, stage: int) -> Program:
        """Return one stage of a step; raises ArtifactError where nothing makes it run."""
        if (step, stage) not in self._ready:
            self._ready[step, stage] = self._load(step.stages[stage], self.stages[stage])
        return self._ready[step, stage]

    def prepare(self) -> None:
        """Make all programs ready."""
        for step in self.plan.steps:
            for stage in range(len(step.stages)):
                self.get(step, stage)

    def forget(self) -> None:
        """Let go of what was loaded."""
        self._ready.clear()

    def announce(self) -> None:
        """Say in the log, once, if another build compiled the artifact's executables."""
        if self.plan.build != self.build and self._carried:
            log.warning(
                "%s: compiled by %s; here is %s, so its programs are compiled again, once",
                self.artifact.path,
                self.plan.build,
                self.build,
            )

    @property
    def _carried(self) -> bool:
        return any(stage.executable for step in self.plan.steps for stage in step.stages)

    def _load(self, files: StageFiles, group: Group) -> Program:
        if files.executable and self.plan.build == self.build:
            try:
                return group.load(self.artifact.read_bytes(files.executable))
            except ArtifactError as error:
                log.warning("%s: %s; compiling its program", files.executable, error.message)
        program = self.artifact.read_bytes(files.program)
        key = self._key(program, group)
        return self._cached(key, group) or self._compile(files.program, program, key, group)

    def _cached(self, key: str, group: Group) -> Program | None:
        entry = self.cache.get(key)
        if entry is None:
            return None
        try:
            return group.load(entry.executable)
        except ArtifactError:  # as good as none
            return None

    def _compile(self, name: str, program: bytes, key: str, group: Group) -> Program:
        begin = time.monotonic()
        try:
            compiled = group.compile(program)
        except ArtifactError as error:
            raise ArtifactError(
                error.message, where=f"{self.artifact.path}/{name}", hint="Compile the model again."
            ) from error
        seconds = time.monotonic() - begin
        log.info("%s: compiled in %.1f s", name, seconds)
        self.cache.put(key, Entry(compiled.serialize(), {"seconds": seconds}))
        return compiled

    def _key(self, program: bytes, group: Group) -> str:
        numbers = list(group.numbers)
        first = numbers == list(range(len(numbers)))
        options = {} if first else {"assigned": numbers}
        return executable_key(program, self.build, self.plan.topology, len(numbers), options)
