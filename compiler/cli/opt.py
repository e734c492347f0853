"""Read a module of the IR, verify it, run passes on it and print it."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ingot.errors import IngotError, UsageError

if TYPE_CHECKING:
    from ingot.ir import Module

HELP = "read a module of the IR, verify it, run passes on it and print it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot opt`."""
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="a module as text or bytecode (graph.mlirbc of an artifact); - is standard input",
    )
    parser.add_argument(
        "--pipeline",
        default="",
        metavar="PASSES",
        help="the passes to run, such as 'raise,canonicalize,quantize{linear=int8}'",
    )
    parser.add_argument(
        "--emit", choices=("text", "bytecode"), default="text", help="how to write the result"
    )
    parser.add_argument(
        "--locations", action="store_true", help="print where each operation comes from"
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="a file instead of standard output")
    parser.add_argument("--list-passes", action="store_true", help="print the passes there are")


def run(arguments: argparse.Namespace) -> int:
    """Read, verify, run the passes, verify after each, and write."""
    # The compiler's imports (torch, MLIR) take seconds: not before they are needed.
    from ingot.ir import Module
    from ingot.passes import parse_pipeline

    if arguments.list_passes:
        print(_passes())
        return 0
    if arguments.file is None:
        raise UsageError("no file is given", hint="Give a file, or - for standard input.")
    pipeline = parse_pipeline(arguments.pipeline)
    where, content = _read(arguments.file)
    module = Module.parse(content, where=where)
    pipeline.run(module)
    _write(_rendered(module, arguments), arguments.output)
    return 0


def _passes() -> str:
    """Return a line for each pass: name with its options, contract, purpose."""
    from ingot.passes import all_passes

    rows = [(str(kind()), kind.description()) for kind in all_passes().values()]
    width = max(len(text) for text, _ in rows)
    return "\n".join(f"{text:<{width}}  {purpose}" for text, purpose in rows)


def _read(file: str) -> tuple[str, str | bytes]:
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
    if data.startswith(_BYTECODE):
        return where, data
    try:
        return where, data.decode()
    except UnicodeDecodeError:
        raise UsageError(
            "is neither MLIR text nor MLIR bytecode", where=where, hint="Give a file of the IR."
        ) from None


_BYTECODE = b"ML\xefR"


def _rendered(module: "Module", arguments: argparse.Namespace) -> bytes:
    if arguments.emit == "bytecode":
        return module.bytecode()
    text = module.text(locations=arguments.locations)
    return (text.rstrip("\n") + "\n").encode()


def _write(content: bytes, output: str | None) -> None:
    if output is None:
        if content.startswith(_BYTECODE) and sys.stdout.isatty():
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
