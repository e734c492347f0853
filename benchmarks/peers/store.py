"""The file that measurements are added to one by one, so that a run can be continued."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """What one form reached in one round of a part, between two looks at the machine's limits.

    `values`: `prefill` and `decode` in tokens a second, `beside` the same next to a neighbour,
    `seconds` or `bytes`.  `limits`: the better of both looks.  `disturbed`: the machine had much
    less to give than at its best.
    """

    model: str
    part: str
    form: str
    round: int
    values: Mapping[str, float]
    limits: Mapping[str, float]
    disturbed: bool
    at: str


@dataclass(frozen=True)
class Absence:
    """Why there is no measurement of a form."""

    model: str
    part: str
    form: str
    reason: str


class Store:
    """Records and absences; each is on disk as soon as it is added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self.absences: list[Absence] = []
        for line in path.read_text().splitlines() if path.exists() else ():
            entry = json.loads(line)
            if "values" in entry:
                self.records.append(Record(**entry))

    def add(self, record: Record) -> None:
        """Keep a record."""
        self.records.append(record)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(record)) + "\n")

    def note(self, absence: Absence) -> None:
        """Keep a reason; it is not on disk, since the next run tries again."""
        self.absences.append(absence)

    def find(self, model: str, part: str, form: str) -> list[Record]:
        """Return the records of a form in a part, in the order of their rounds."""
        found = [r for r in self.records if (r.model, r.part, r.form) == (model, part, form)]
        return sorted(found, key=lambda record: record.round)

    def absent(self, model: str, form: str) -> bool:
        """Whether the form failed before in this run."""
        return any((each.model, each.form) == (model, form) for each in self.absences)
