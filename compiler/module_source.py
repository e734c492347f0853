"""Reading the source of a module: MLIR text or bytecode, from a file or standard input."""

import sys
from pathlib import Path

from ingot.errors import UsageError

BYTECODE = b"ML\xefR"
"""What MLIR bytecode begins with."""

FILE_OF_THE_IR = "Give a file of the IR."


def read_module_source(file: str, hint: str = FILE_OF_THE_IR) -> tuple[str, str | bytes]:
    """Return the name of the source for errors, and its text or bytecode; `-` is standard input.

    Raises `UsageError`, with `hint`, for what cannot be read or is neither of both.
    """
    if file == "-":
        where, data = "standard input", sys.stdin.buffer.read()
    else:
        where = file
        try:
            data = Path(file).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot be read: {error.strerror}", where=file, hint=hint) from None
    if data.startswith(BYTECODE):
        return where, data
    try:
        return where, data.decode()
    except UnicodeDecodeError:
        raise UsageError("is neither MLIR text nor MLIR bytecode", where=where, hint=hint) from None
