"""JSON files of a checkpoint folder."""

import json
from pathlib import Path
from typing import Any

from ingot.errors import CheckpointError


def read_json_value(file: Path) -> Any:
    """Return what a JSON file holds, None where there is no such file; raises CheckpointError."""
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"is no JSON: {error}", where=str(file), hint="Download the file again."
        ) from error


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file, or an empty one where there is no such file."""
    value = read_json_value(file)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CheckpointError("is no JSON object", where=str(file), hint="Download the file again.")
    return value
