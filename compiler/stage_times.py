"""How long each stage of a compile takes: by the clock, and of the processor."""

import resource
import time
from collections.abc import Collection, Sequence

from .records import StageTime
from .stages import Progress


class StageClock:
    """A `Progress` that notes when stages of some names begin, and hands everything on."""

    def __init__(self, names: Collection[str], progress: Progress) -> None:
        self._names = frozenset(names)
        self._progress = progress
        self._now = ""
        self._since = (0.0, 0.0)
        self._times: list[StageTime] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        """Note the beginning of a stage, where `what` names one that is not the present one."""
        if what in self._names and what != self._now:
            self._begin(what)
        self._progress(what, done, total)

    def finish(self) -> tuple[StageTime, ...]:
        """Return the times of all stages, the last of which ends now."""
        self._begin("")
        return tuple(self._times)

    def _begin(self, name: str) -> None:
        now = (time.monotonic(), _processor_seconds())
        if self._now:
            seconds, processor = (b - a for a, b in zip(self._since, now, strict=True))
            self._times.append(StageTime(self._now, seconds, processor))
        self._now, self._since = name, now


def _processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def format_stages(stages: Sequence[StageTime]) -> str:
    """Return a line for each stage: its seconds, those of the processor, its name."""
    rows = [("seconds", "processor", "stage")]
    rows += [(f"{s.seconds:.2f}", f"{s.processor_seconds:.2f}", s.name) for s in stages]
    return "\n".join(f"{a:>7}  {b:>9}  {name}" for a, b, name in rows)
