"""Results kept in a JSON file, so that a run can be continued or repeated in parts."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from .result import Result, Verdict


def read_results(path: Path) -> dict[str, Result]:
    """Return the results of a file by name; none where there is no such file."""
    if not path.exists():
        return {}
    document = json.loads(path.read_text(encoding="utf-8"))
    found = [Result(**{**one, "verdict": Verdict(one["verdict"])}) for one in document]
    return {one.name: one for one in found}


def write_results(path: Path, results: Mapping[str, Result]) -> None:
    """Write results in the order of their names."""
    document = [asdict(results[name]) for name in sorted(results)]
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
