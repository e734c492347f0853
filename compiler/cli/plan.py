"""Rank the ways to compile a model for a target."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ingot.errors import UsageError

from .compile import ProgressLine
from .interrupts import noting_interrupts

if TYPE_CHECKING:
    from ingot.compiler.planning import Plan, Request
    from ingot.targets import KvDtype

HELP = "rank the meshes and encodings that a model can be compiled with for a target"
BAR = 20
"""Characters of the bar that shows how much is done."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot plan`."""
    parser.add_argument(
        "model", metavar="MODEL", help="what ingot compile takes, or a config.json without weights"
    )
    parser.add_argument(
        "--target", default="cpu", help="what to plan for, as in tpu:v5e-8 (default: cpu)"
    )
    _add_workload_arguments(parser)
    parser.add_argument(
        "--encodings",
        default="",
        metavar="LIST",
        help="encodings of linear weights to choose among, as in none,int8,w8a8,int4-g128",
    )
    parser.add_argument(
        "--kv-dtypes", default="", metavar="LIST", help="types of the KV cache to choose among"
    )
    parser.add_argument(
        "--devices", type=int, default=0, metavar="N", help="for targets of any number of devices"
    )
    parser.add_argument("--top", type=int, default=10, metavar="N", help="rows of the table")
    parser.add_argument(
        "--no-compile", action="store_true", help="do not ask the target's compiler about the best"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON, - for the output")


def _add_workload_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the devices are to do, and how fast."""
    parser.add_argument(
        "--context", type=int, default=0, metavar="N", help="most tokens of a sequence"
    )
    parser.add_argument(
        "--batch", type=int, default=8, metavar="N", help="sequences at a time, in all (default: 8)"
    )
    parser.add_argument(
        "--prompt", type=int, default=0, metavar="N", help="tokens of the prompt that TTFT is for"
    )
    parser.add_argument(
        "--ttft", type=float, default=0.0, metavar="MS", help="most milliseconds to the first token"
    )
    parser.add_argument(
        "--tokens-per-s",
        type=float,
        default=0.0,
        metavar="N",
        help="least tokens a second of all sequences together",
    )


def run(arguments: argparse.Namespace) -> int:
    """Plan, and print the table; exit code 1 where nothing fits."""
    # The compiler's imports (torch, MLIR, transformers) take seconds: not before they are needed.
    from ingot.compiler.planning import winner
    from ingot.compiler.planning.table import format_ranking

    request = _request(arguments)
    with noting_interrupts() as check_interrupt:
        line = ProgressLine(check_interrupt)
        plan = _plan(arguments, request, with_bar(line))
        line.close()
    if arguments.json:
        write_json(plan, arguments.json)
    if arguments.json != "-":
        print(format_ranking(plan))
    winner(plan)  # or the error that says by how much the nearest misses
    return 0


def _plan(
    arguments: argparse.Namespace, request: "Request", progress: Callable[[str, int, int], None]
) -> "Plan":
    from ingot.compiler.planning.opening import plan_model
    from ingot.models import fetch_builtin, is_builtin
    from ingot.targets import find_target

    asked = arguments.model
    target = find_target(arguments.target)
    path = fetch_builtin(word=asked) if is_builtin(asked) else Path(asked)
    return plan_model(
        path, target, request, progress, compiles=not arguments.no_compile, model=asked
    )


def _request(arguments: argparse.Namespace) -> "Request":
    from ingot.compiler.planning import Request

    return Request(
        context=arguments.context,
        batch=arguments.batch,
        prompt=arguments.prompt,
        ttft=arguments.ttft / 1e3,
        tokens_per_s=arguments.tokens_per_s,
        encodings=_names(arguments.encodings),
        kv_dtypes=cast("tuple[KvDtype, ...]", _names(arguments.kv_dtypes)),
        devices=arguments.devices,
        top=arguments.top,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def write_json(plan: "Plan", file: str) -> None:
    """Write the plan to `file`, or to the output for `-`; raise `UsageError` where it cannot be."""
    text = json.dumps(plan.to_json(), indent=1) + "\n"
    if file == "-":
        sys.stdout.write(text)
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}",
            where=file,
            hint="Give --json a file in a folder that exists.",
        ) from error


def with_bar(show: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
    """Return a progress that draws a bar of the steps whose number is known, others behind it."""
    latest = ["", ""]

    def progress(what: str, done: int, total: int) -> None:
        if total:
            filled = BAR * done // total
            latest[:] = [f"[{'#' * filled}{'.' * (BAR - filled)}] {done}/{total} ", what]
            show(latest[0] + what, 0, 0)
        elif sys.stderr.isatty():
            show(f"{latest[0]}{latest[1]} {what}".strip(), 0, 0)

    return progress
