"""Reading modules from files and writing them to files or standard output."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ingot.errors import IngotError, UsageError

if TYPE_CHECKING:
    from ingot.ir import Module

BYTECODE = b"ML\xefR"


def read_module(file: str) -> "Module":
    """Read and verify text or bytecode; `-` is standard input."""
    from ingot.ir import Module

    where, content = read_module_source(file)
    return Module.parse(content, where=where)


def write_result(
    value: object, output: str | None, emit: str | None = None, locations: bool = False
) -> None:
    """Write a module in the form asked for, or the text of another value."""
    write_bytes(render(value, output, emit, locations), output)


def render(
    value: object, output: str | None, emit: str | None = None, locations: bool = False
) -> bytes:
    """Return a module in the form asked for, or the text of another value.

    Without `emit` a module is readable on a terminal, and generic MLIR elsewhere.
    """
    from ingot.ir import Module, readable

    if not isinstance(value, Module):
        text = str(value)
    elif emit == "bytecode":
        return value.bytecode()
    else:
        terminal = output is None and sys.stdout.isatty()
        is_readable = emit == "readable" or (emit is None and terminal)
        text = readable(value, locations) if is_readable else value.text(locations)
    return (text.rstrip("\n") + "\n").encode()


def read_module_source(file: str) -> tuple[str, str | bytes]:
    """Return the name of the source for errors, and its text or bytecode."""
    if file == "-":
        where, data = "standard input", sys.stdin.buffer.read()
    else:
        where = file
        try:
            data = Path(file).read_bytes()
        except OSError as error:
            raise UsageError(
                f"cannot be read: {error.strerror}", where=file, hint="Give a file of the IR."
            ) from None
    if data.startswith(BYTECODE):
        return where, data
    try:
        return where, data.decode()
    except UnicodeDecodeError:
        raise UsageError(
            "is neither MLIR text nor MLIR bytecode", where=where, hint="Give a file of the IR."
        ) from None


def write_bytes(content: bytes, output: str | None) -> None:
    """Write to a file, or to standard output, which bytecode only does where it is no terminal."""
    if output is None:
        if content.startswith(BYTECODE) and sys.stdout.isatty():
            raise UsageError("bytecode is not for a terminal", hint="Name a file with -o.")
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        Path(output).write_bytes(content)
    except OSError as error:
        raise IngotError(
            f"cannot be written: {error.strerror}", where=output, hint="Name another file with -o."
        ) from None
