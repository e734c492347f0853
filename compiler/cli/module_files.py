"""Writing modules to files or standard output."""

import sys
from pathlib import Path

from ingot.compiler.module_source import BYTECODE
from ingot.errors import IngotError, UsageError


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
