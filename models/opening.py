"""Opens a checkpoint of whatever format."""

from pathlib import Path

from ingot.errors import CheckpointError

from .checkpoint import Checkpoint
from .formats.gguf import MAGIC, open_gguf
from .formats.hugging_face import open_folder


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a Hugging Face folder or a GGUF file; no weight is read yet.

    Raises CheckpointError for what is missing, damaged or does not fit together, UnsupportedError
    for an architecture or a storage that cannot be compiled.
    """
    path = Path(path)
    if path.is_dir():
        return open_folder(path)
    if not path.is_file():
        raise CheckpointError(
            "there is no such file or folder",
            where=str(path),
            hint="Give a local folder or .gguf file; models are not downloaded by name.",
        )
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise CheckpointError(
                "is not a GGUF file",
                where=str(path),
                hint="Give the folder that holds config.json, or a .gguf file.",
            )
    return open_gguf(path)
