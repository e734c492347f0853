"""Read a module of the IR, verify it, run passes on it and print it."""

import argparse
import sys
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ingot.errors import IngotError, UsageError

if TYPE_CHECKING:
    from ingot.ir import Module

SEPARATOR = "// -----\n"
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
    parser.add_argument(
        "--split-input-file",
        action="store_true",
        help="treat what stands between lines '// -----' of a text as modules of their own",
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="a file instead of standard output")
    parser.add_argument("--list-passes", action="store_true", help="print the passes there are")
    parser.add_argument(
        "--list-pipelines", action="store_true", help="print the pipelines that have a name"
    )
    parser.add_argument(
        "--print-pipeline",
        metavar="PASSES",
        help="print a pipeline with all its names written out; a target's name gives its own",
    )
    parser.add_argument("--help-pass", metavar="NAME", help="print what a pass and its options do")


def run(arguments: argparse.Namespace) -> int:
    """Read, verify, run the passes, verify after each, and write."""
    # The compiler's imports (torch, MLIR) take seconds: not before they are needed.
    from ingot.ir import Module
    from ingot.passes import parse_pipeline

    told = _told(arguments)
    if told:
        print(told)
        return 0
    if arguments.file is None:
        raise UsageError("no file is given", hint="Give a file, or - for standard input.")
    pipeline = parse_pipeline(arguments.pipeline)
    where, content = _read(arguments.file)
    rendered = []
    for piece in _pieces(content) if arguments.split_input_file else [content]:
        module = Module.parse(piece, where=where)
        pipeline.run(module)
        rendered.append(_rendered(module, arguments))
    _write(SEPARATOR.encode().join(rendered), arguments.output)
    return 0


def _pieces(content: str | bytes) -> list[str]:
    """Return the modules of a text, each with lines before it so that errors keep their line."""
    if isinstance(content, bytes):
        raise UsageError("bytecode holds one module", hint="Leave out --split-input-file.")
    parts = content.split(SEPARATOR)
    lines = [0, *accumulate(part.count("\n") + SEPARATOR.count("\n") for part in parts)]
    return ["\n" * before + part for before, part in zip(lines, parts, strict=False)]


def _told(arguments: argparse.Namespace) -> str:
    """Return what is asked about passes and pipelines, an empty text where nothing is."""
    from ingot.passes import (
        all_passes,
        find_pass,
        list_passes,
        list_pipelines,
        pass_help,
        pipelines,
    )

    if arguments.list_passes:
        return list_passes(all_passes().values())
    if arguments.list_pipelines:
        return list_pipelines(pipelines().values())
    if arguments.help_pass is not None:
        return pass_help(find_pass(arguments.help_pass))
    return "" if arguments.print_pipeline is None else _written_out(arguments.print_pipeline)


def _written_out(text: str) -> str:
    """Return a pipeline with the passes that names of pipelines and targets stand for."""
    from ingot.passes import parse_pipeline
    from ingot.targets import Settings, find_target, target_names

    named = target_names()
    wanted = {name for name in named if name in text.split(",")}
    own = {name: find_target(name).pipeline(Settings()) for name in wanted}
    return str(parse_pipeline(text, own))


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
