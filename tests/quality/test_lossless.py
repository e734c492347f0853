"""Weights that a file stores encoded are repacked, not rounded again."""

from collections.abc import Callable
from pathlib import Path

from ingot.runtime.artifact import Artifact


def test_stored_encodings_are_kept(artifact: Callable[[str], Path]) -> None:
    encodings = Artifact.open(artifact("stored")).manifest["encodings"]
    assert encodings["kept_without_loss"]
    assert encodings["stored"] == {"int4-g32-min": 210, "int8-g32": 1}
