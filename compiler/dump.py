"""Numbered stage files for whoever looks inside a compile (`--save-stages`, `INGOT_DUMP`)."""

from pathlib import Path

from ingot.ir import Module, readable

from .difference import difference


class Dump:
    """Writes what each stage gave to numbered files, where a folder is given.

    A module becomes `NN-name.mlir`, which reads back with its locations, `NN-name.txt` for a reader
    and `NN-name.diff`, the difference from the readable form of the stage before; other values
    become `NN-name.txt`.  `pipeline.txt` holds the passes that `ingot opt` runs again on
    `00-import.mlir`.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._count = folder, 0
        self._latest: str | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, value: object) -> None:
        """Write one value; turning it to text costs time only if a folder is given."""
        if self._folder is None:
            return
        stem = f"{self._count:02d}-{name}"
        if isinstance(value, Module):
            self._write_module(stem, value)
        else:
            self._write(f"{stem}.txt", str(value))
        self._count += 1

    def write_pipeline(self, pipeline: str) -> None:
        """Write the text of the passes that were run."""
        if self._folder is not None:
            self._write("pipeline.txt", pipeline + "\n")

    def _write_module(self, stem: str, module: Module) -> None:
        text = readable(module)
        self._write(f"{stem}.mlir", module.text(locations=True))
        self._write(f"{stem}.txt", text)
        if self._latest is not None:
            self._write(f"{stem}.diff", difference(self._latest, text, stem))
        self._latest = text

    def _write(self, name: str, text: str) -> None:
        assert self._folder is not None
        (self._folder / name).write_text(text, encoding="utf-8")
