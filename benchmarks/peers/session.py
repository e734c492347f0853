"""Measures the forms of one model in turn, round after round."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

from .convert import Conversions, size_of
from .errors import AbsentError
from .forms import FORMS, Form
from .machine import Moment, Probe, best_of
from .parts import DROPPED_BELOW, Part
from .runners import Runner, Runners
from .store import Absence, Record, Store

UNDISTURBED = 0.85
"""The least share of the best limits at which a measurement counts."""
REPEATS = 3
WAIT_SECONDS = 2.0
RESERVE_BYTES = 3e9
"""Memory that has to stay free beside loaded models, three times a model's size for the next."""
Say = Callable[[str], None]


@dataclass
class Session:
    """One model, its runtimes and where the results go."""

    model: str
    conversions: Conversions
    runners: Runners
    probe: Probe
    store: Store
    say: Say
    best: Moment = field(init=False)
    _open: dict[tuple[str, bool], Runner] = field(default_factory=dict)

    def run(self, parts: Sequence[Part], forms: Sequence[Form], rounds: int) -> None:
        """Measure whatever is missing; what fails is noted as absent."""
        self.best = best_of([self.probe.measure() for _ in range(5)])
        for number in range(rounds):
            for part in parts:
                if number >= part.rounds:
                    continue
                taking = [form for form in forms if part.takes(form)]
                turn = number % max(len(taking), 1)
                for form in taking[turn:] + taking[:turn]:
                    self._attempt(part, form, number)
        self.close()

    def close(self) -> None:
        """End what is loaded."""
        for runner in self._open.values():
            runner.close()
        self._open.clear()

    def _attempt(self, part: Part, form: Form, number: int) -> None:
        known = self.store.find(self.model, part.name, form.name)
        done = any(record.round == number for record in known)
        if done or self.store.absent(self.model, form.name) or self._dropped(part, form, known):
            return
        try:
            record = self._measure(part, form, number)
        except AbsentError as error:
            self.store.note(Absence(self.model, part.name, form.name, str(error)))
            self.say(f"{form.name}: absent: {error}")
            return
        self.store.add(record)
        values = "  ".join(f"{name} {value:,.2f}" for name, value in record.values.items())
        mark = " (disturbed)" if record.disturbed else ""
        self.say(f"{number + 1} {self.model} {part.name} {form.name}: {values}{mark}")

    def _dropped(self, part: Part, form: Form, known: Sequence[Record]) -> bool:
        """Whether a peer's form is so slow here that it cannot be the fastest."""
        if form.peer == "ingot" or part.kind != "rate" or len(known) < part.tries:
            return False
        others = [r for r in self.store.records if (r.model, r.part) == (self.model, part.name)]
        rivals = [r for r in others if not r.form.startswith("ingot") and _same_width(r, form)]
        return all(
            max(r.values[key] for r in known)
            < DROPPED_BELOW * max(r.values[key] for r in rivals if r.round == known[0].round)
            for key in known[0].values
        )

    def _measure(self, part: Part, form: Form, number: int) -> Record:
        runner = self._runner(form, part.kind == "avx2")
        for repeat in range(REPEATS):
            before = self._look()
            # No two measurements share the beginning of a prompt, which might be cached.
            values = _values(part, runner, crc32(f"{part.name} {number} {repeat}".encode()))
            looks = [before, self._look()]
            disturbed = any(look.slower_than(self.best, UNDISTURBED) for look in looks)
            if not disturbed:
                break
            time.sleep(WAIT_SECONDS)
        limits = best_of(looks).as_dict()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        names = self.model, part.name, form.name
        return Record(*names, number, values, limits, disturbed, now)

    def _look(self) -> Moment:
        now = self.probe.measure()
        self.best = best_of([self.best, now])
        return now

    def _runner(self, form: Form, avx2: bool) -> Runner:
        key = form.name, avx2
        if key not in self._open:
            path = self.conversions.path(form)
            self._make_room(3 * size_of(path) + RESERVE_BYTES)
            self._open[key] = self.runners.make(form, path, avx2)
        runner = self._open.pop(key)
        self._open[key] = runner  # the last is the one used last
        return runner

    def _make_room(self, wanted: float) -> None:
        for key in list(self._open):
            if _available() > wanted:
                return
            self._open.pop(key).close()


def _same_width(record: Record, form: Form) -> bool:
    return next(each.width for each in FORMS if each.name == record.form) == form.width


def _values(part: Part, runner: Runner, seed: int) -> dict[str, float]:
    if part.kind == "start":
        runner.start()  # so that the files are in the page cache, whoever has run meanwhile
        return {"seconds": runner.start()}
    if part.kind == "memory":
        return {"bytes": float(runner.peak(part.load))}
    found = runner.generate(part.load, seed)
    decode = found["tokens"] / found["rest"]
    if part.kind == "beside":
        with busy_neighbour():
            beside = runner.generate(part.load, seed + 100)
        return {"decode": decode, "beside": beside["tokens"] / beside["rest"]}
    if part.load.sequences > 1:
        return {"decode": decode}
    return {"prefill": part.load.prompt / found["first"], "decode": decode}


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Keep one core busy, whichever the system gives."""
    process = subprocess.Popen(["yes"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait()


def _available() -> float:
    text = Path("/proc/meminfo").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("MemAvailable")]
    return 1024.0 * int(line.split()[1])
