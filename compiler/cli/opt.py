"""Read a module of the IR, verify it, run passes on it and print it."""

import argparse
from itertools import accumulate
from typing import TYPE_CHECKING

from ingot.compiler.module_source import read_module_source
from ingot.errors import UsageError

from .inspection_options import add_inspection_arguments, inspection_of
from .module_files import render, write_bytes

if TYPE_CHECKING:
    from ingot.ir import Module
    from ingot.passes import Pipeline

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
        "--split-input-file",
        action="store_true",
        help="treat what stands between lines '// -----' of a text as modules of their own",
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="a file instead of standard output")
    parser.add_argument(
        "--weights",
        metavar="CHECKPOINT",
        help="what --verify-passes takes weights from; default: random ones",
    )
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
    add_inspection_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read, verify, run the passes, verify after each, and write."""
    # The compiler's imports (torch, MLIR) take seconds: not before they are needed.
    from ingot.ir import Module

    told = _told(arguments)
    if told:
        print(told)
        return 0
    if arguments.file is None:
        raise UsageError("no file is given", hint="Give a file, or - for standard input.")
    pipeline = _pipeline(arguments)
    where, content = read_module_source(arguments.file)
    rendered = []
    for piece in _pieces(content) if arguments.split_input_file else [content]:
        module = Module.parse(piece, where=where)
        _run_pipeline(pipeline, module, arguments)
        rendered.append(render(module, arguments.output, arguments.emit, arguments.locations))
    write_bytes(SEPARATOR.encode().join(rendered), arguments.output)
    return 0


def _pipeline(arguments: argparse.Namespace) -> "Pipeline":
    """Return the passes to run: those up to --stop-after."""
    from ingot.compiler.inspection import check_names, cut
    from ingot.passes import parse_pipeline

    pipeline = parse_pipeline(arguments.pipeline)
    check_names(inspection_of(arguments), pipeline)
    return cut(pipeline, arguments.stop_after)


def _run_pipeline(pipeline: "Pipeline", module: "Module", arguments: argparse.Namespace) -> None:
    """Run the passes in place; what is to be seen of them goes to standard error."""
    from ingot.compiler.inspection import Inspector, sample_for, weights_for

    inspector = Inspector(inspection_of(arguments))
    if arguments.verify_passes:
        inspector.verify_with(weights_for(module, arguments.weights), sample_for(module))
    inspector.dump.write("import", module)
    pipeline.run(module, inspector.callback)
    inspector.dump.write_pipeline(str(pipeline))
    inspector.close()


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
