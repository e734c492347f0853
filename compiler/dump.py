"""Numbered stage files for whoever looks inside a compile (`INGOT_DUMP=folder`)."""

from pathlib import Path

from ingot.ir import Module


class Dump:
    """Writes each stage's result to `NN-name.mlir` (modules) or `NN-name.txt`, given a folder.

    `pipeline.txt` holds the passes that `ingot opt` runs again on `00-import.mlir`.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._count = folder, 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, value: object) -> None:
        """Write one value; turning it to text costs time only if a folder is given."""
        if self._folder is None:
            return
        suffix = "mlir" if isinstance(value, Module) else "txt"
        path = self._folder / f"{self._count:02d}-{name}.{suffix}"
        path.write_text(str(value), encoding="utf-8")
        self._count += 1

    def write_pipeline(self, pipeline: str) -> None:
        """Write the text of the passes that were run."""
        if self._folder is not None:
            (self._folder / "pipeline.txt").write_text(pipeline + "\n", encoding="utf-8")
