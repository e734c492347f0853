"""Compile a checkpoint into an artifact."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ingot.compiler.cycles import rare_collections
from ingot.errors import UsageError
from ingot.runtime.cpu_level import supported_levels

from .device_options import add_device_arguments, device_settings
from .inspection_options import add_inspection_arguments, inspection_of
from .interrupts import noting_interrupts
from .module_files import write_result

if TYPE_CHECKING:
    from ingot.compiler.driver import CompileOptions

HELP = "compile a checkpoint into an artifact"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot compile`."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a Hugging Face folder, a .gguf file, or a built-in model: builtin "
        "(SmolLM2-135M-Instruct) or builtin:minilm (all-MiniLM-L6-v2, for embeddings)",
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="the artifact; default: NAME.ingot")
    parser.add_argument(
        "--target",
        default="cpu",
        metavar="FAMILY[:VARIANT]",
        help="what to compile for: cpu, xla:cpu, tpu:v5e-8, xla:h100, … (default: cpu)",
    )
    add_device_arguments(parser)
    _add_encoding_arguments(parser)
    _add_pipeline_arguments(parser)
    _add_outcome_arguments(parser)
    add_inspection_arguments(parser)


def _add_encoding_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how weights and cache are stored."""
    parser.add_argument(
        "--quantize",
        default="auto",
        metavar="ENCODING",
        help="of linear weights: int4-g32, int8, none, …; default: what a quantised checkpoint "
        "stores, int4-g32 for others",
    )
    parser.add_argument(
        "--embedding",
        default="auto",
        metavar="ENCODING",
        help="of embedding and output head; same: that of --quantize; default: as stored, int8 for "
        "floats",
    )
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="PATTERN=ENCODING",
        help="encoding of the weights whose names match, as in '*.down_proj.weight=int8'",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="auto",
        help="type of weights that stay floats; default: as stored",
    )
    parser.add_argument(
        "--kv-dtype",
        choices=("auto", "float32", "bfloat16", "int8"),
        default="auto",
        help="type of the KV cache; auto: float32 for float32 models, bfloat16 for others",
    )


def _add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the instruction sets and the passes that make code for them."""
    parser.add_argument(
        "--levels",
        default="",
        metavar="LIST",
        help="instruction sets to carry, as in avx2,avx512; native: this machine's; default: all",
    )
    parser.add_argument(
        "--pipeline",
        default="",
        metavar="PASSES",
        help="run these passes instead of the target's own, which --quantize and its like change; "
        "default stands for those",
    )
    parser.add_argument(
        "--add-pass",
        action="append",
        default=[],
        metavar="PASS[@after=NAME]",
        help="run a pass more: at the end, or @after=NAME, @before=NAME of another pass",
    )


def _add_outcome_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is measured, reported and written."""
    parser.add_argument(
        "--no-measure", action="store_true", help="do not run the artifact to measure its speed"
    )
    parser.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="FILE",
        help="write what was done to a page (.html) or as JSON (.json); may be repeated",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="plan everything, but read, pack and write no weights; print what would be made",
    )


def run(arguments: argparse.Namespace) -> int:
    """Compile, then print what came of it."""
    with rare_collections():  # already for the imports
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    # The compiler's imports (torch, MLIR, transformers) take seconds: not before they are needed.
    from ingot.compiler.driver import compile_model
    from ingot.compiler.full_report import write_reports
    from ingot.compiler.measure import measure_speed
    from ingot.compiler.stage_times import format_stages
    from ingot.compiler.table import format_report

    _check_reports(arguments)
    model, output = _model_and_output(arguments)
    options = _options(arguments)
    with noting_interrupts() as check_interrupt:
        progress = ProgressLine(check_interrupt)
        if arguments.stop_after:
            _stop_early(model, options, arguments, progress)
            return 0
        if arguments.dry_run:
            _plan(model, options, progress)
            return 0
        report = compile_model(model, output, options, progress)
    if report.levels and not arguments.no_measure:
        progress("measure", 0, 0)
        report = measure_speed(report)
    progress.close()
    if arguments.time_passes:
        print(
            f"// ---- seconds of the stages ----\n{format_stages(report.stages)}", file=sys.stderr
        )
    if arguments.report:
        write_reports(report, arguments.report)
    print(format_report(report))
    return 0


def _check_reports(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for reports of another kind, or of a compile that makes no artifact."""
    from ingot.compiler.full_report import check_files

    check_files(arguments.report)
    ends = "--dry-run" if arguments.dry_run else "--stop-after" if arguments.stop_after else ""
    if arguments.report and ends:
        raise UsageError(
            f"a report is of an artifact, and {ends} makes none",
            where=f"--report {arguments.report[0]}",
            hint=f"Leave out --report or {ends}.",
        )


def _options(arguments: argparse.Namespace) -> "CompileOptions":
    from ingot.compiler.driver import CompileOptions
    from ingot.targets import Settings

    settings = Settings(
        linear=arguments.quantize,
        embedding=arguments.embedding,
        overrides=tuple(arguments.override),
        dtype=arguments.dtype,
        kv_dtype=arguments.kv_dtype,
        levels=_levels(arguments.levels),
        pipeline=arguments.pipeline,
        added=tuple(arguments.add_pass),
        **device_settings(arguments),
    )
    return CompileOptions(
        arguments.target, settings, replace(inspection_of(arguments), report=bool(arguments.report))
    )


def _stop_early(
    model: Path, options: "CompileOptions", arguments: argparse.Namespace, progress: "ProgressLine"
) -> None:
    """Run up to a pass or stage, and write what it gave instead of an artifact."""
    from ingot.compiler.stages import lower_model, open_front

    lowering = lower_model(open_front(model, options, progress), options, progress)
    progress.close()
    lowering.inspector.close()
    write_result(lowering.last, arguments.output, arguments.emit, arguments.locations)


def _plan(model: Path, options: "CompileOptions", progress: "ProgressLine") -> None:
    """Print what a compile would make."""
    from ingot.compiler.dry_run import plan_model
    from ingot.compiler.plan_table import format_plan

    planned = plan_model(model, options, progress)
    progress.close()
    print(format_plan(planned))


def _model_and_output(arguments: argparse.Namespace) -> tuple[Path, Path]:
    from ingot.models import fetch_builtin, find_builtin, is_builtin

    if is_builtin(arguments.model):
        name = find_builtin(arguments.model).artifact
        model = fetch_builtin(word=arguments.model)
    else:
        model = Path(arguments.model)
        name = model.resolve().name.removesuffix(".gguf")
    return model, Path(arguments.output or f"{name}.ingot")


def _levels(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    levels = (supported_levels()[-1] if name == "native" else name for name in names)
    return tuple(dict.fromkeys(levels))


class ProgressLine:
    """One line on stderr that says what is being done; a line a step where it is no terminal.

    `check` is called before each step, and may end the command by raising.
    """

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self._check = check
        self._terminal = sys.stderr.isatty()
        self._last = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        self._check()
        if self._terminal:
            text = f"{what} {done}/{total}" if total else what
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif what != self._last:
            print(what, file=sys.stderr, flush=True)
        self._last = what

    def close(self) -> None:
        """Clear the line."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
