"""Options to look inside the passes, which `ingot compile` and `ingot opt` share."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ingot import knobs

if TYPE_CHECKING:
    from ingot.compiler.inspection import Inspection

ALL = "all"
GENERIC = ("generic", "text")
"""The names of MLIR's own form."""


def add_inspection_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to print, time, save and verify of the passes."""
    group = parser.add_argument_group("inspection", "What is printed goes to standard error.")
    for phase in ("before", "after"):
        group.add_argument(
            f"--print-{phase}",
            nargs="?",
            const=ALL,
            action="append",
            default=[],
            metavar="NAME",
            help=f"print the module {phase} the pass of that name; without a name, {phase} each",
        )
    group.add_argument(
        "--print-changes", action="store_true", help="print what each pass changed, as diff -u"
    )
    group.add_argument(
        "--save-stages",
        metavar="DIR",
        help="write numbered files of every stage, and the pipeline that runs them again",
    )
    group.add_argument(
        "--time-passes",
        action="store_true",
        help="print a table of the seconds of each pass, and of a compile's stages",
    )
    group.add_argument(
        "--stop-after", default="", metavar="NAME", help="end after this pass or stage"
    )
    group.add_argument(
        "--verify-passes",
        action="store_true",
        help="interpret the module before and after each pass; stop at one that breaks its "
        "numeric contract",
    )
    group.add_argument(
        "--emit",
        choices=("readable", *GENERIC, "bytecode"),
        help="how a module is printed; default: readable on a terminal, generic (also called "
        "text) elsewhere",
    )
    group.add_argument(
        "--locations", action="store_true", help="print where in the model operations come from"
    )


def inspection_of(arguments: argparse.Namespace) -> "Inspection":
    """Return what the user wants to see, environment variables included."""
    from ingot.compiler.inspection import Inspection

    stages = arguments.save_stages or knobs.DUMP.get()
    return Inspection(
        print_before=tuple(arguments.print_before),
        print_after=tuple(arguments.print_after),
        changes=arguments.print_changes,
        stages=None if stages is None else Path(stages),
        time=arguments.time_passes,
        stop_after=arguments.stop_after,
        verify=arguments.verify_passes,
        locations=arguments.locations,
        generic=arguments.emit in GENERIC,
        debug=knobs.DEBUG.get(),
    )
