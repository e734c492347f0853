"""The result of a run as a file: the machine, the raw rounds, and the tables made of them."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import bars
from .models import MODELS
from .result import Facts, ModelResult
from .store import Absence, Record
from .table import bars_table, forms_table


@dataclass(frozen=True)
class Report:
    """Everything that was found on one machine on one day."""

    date: str
    machine: Mapping[str, str | int]
    threads: int
    results: Sequence[ModelResult]
    absences: Sequence[Absence]

    def as_json(self) -> str:
        """Return the file that `read_report` reads."""
        models = {
            result.model.name: {
                "facts": {form: asdict(facts) for form, facts in result.facts.items()},
                "conversion_seconds": dict(result.conversion),
                "rounds": [asdict(record) for record in result.records],
            }
            for result in self.results
        }
        document = {
            "date": self.date,
            "machine": dict(self.machine),
            "threads": self.threads,
            "limits": self.limits(),
            "bars": [asdict(row) for result in self.results for row in bars.rows(result)],
            "absent": [asdict(absence) for absence in self.absences],
            "models": models,
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def limits(self) -> dict[str, float]:
        """Return the medians of the machine's limits over all measurements."""
        looks = [record.limits for result in self.results for record in result.records]
        names = looks[0] if looks else {}
        return {name: round(statistics.median(look[name] for look in looks), 1) for name in names}

    def as_markdown(self) -> str:
        """Return the tables, with what is needed to read them."""
        limits = {"read": 0.0, "int8": 0.0, "bf16": 0.0, "f32": 0.0} | self.limits()
        lines = [
            f"{self.date}, {self.machine['processor']}, {self.machine['cores']} cores, "
            f"{self.threads} threads each. Medians of the limits: read {limits['read']} GB/s, "
            f"int8 {limits['int8']} GOP/s, bf16 {limits['bf16']} and f32 {limits['f32']} GFLOP/s.",
            "",
            bars_table(row for result in self.results for row in bars.rows(result)),
        ]
        for result in self.results:
            lines += [f"{result.model.name}:", "", forms_table(result)]
        lines += [f"- {a.model} {a.form}: absent: {a.reason}" for a in self.absences]
        return "\n".join(lines)


def read_report(path: Path) -> Report:
    """Read what `as_json` wrote."""
    document: dict[str, Any] = json.loads(path.read_text())
    results = [
        ModelResult(
            MODELS[name],
            [Record(**each) for each in model["rounds"]],
            {form: Facts(**facts) for form, facts in model["facts"].items()},
            model["conversion_seconds"],
        )
        for name, model in document["models"].items()
    ]
    absences = [Absence(**each) for each in document["absent"]]
    return Report(document["date"], document["machine"], document["threads"], results, absences)
