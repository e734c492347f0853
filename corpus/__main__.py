"""Prove that architectures compile right: `python -m corpus --only llama,gemma2`.

Without --only every model is tried: those configured by hand, and a shrunk default of every other
type that transformers maps to a causal language model.  A line a model; exit code 1 where a result
is wrong or broken.
"""

import argparse
import fnmatch
import sys
from pathlib import Path

from ingot.errors import UsageError

from .cases import FAST, Case, all_cases
from .check import EXECUTORS
from .result import Result, Verdict
from .results_file import read_results, write_results
from .running import run_cases
from .table import summary, write_table


def main() -> int:
    """Run the command line and return the exit code."""
    arguments = _parser().parse_args()
    cases = chosen(arguments.only, fast=arguments.fast)
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return 0
    file = Path(arguments.json) if arguments.json else None
    results = read_results(file) if file else {}
    if arguments.resume:
        cases = [case for case in cases if case.name not in results]
    for result in run_cases(cases, arguments.executor, arguments.time_limit):
        results[result.name] = result
        print(_line(result), flush=True)
        if arguments.verbose and result.trace:
            print(result.trace, file=sys.stderr)
        if file:
            write_results(file, results)
    print(summary(list(results.values())))
    if arguments.table:
        write_table(Path(arguments.table), list(results.values()))
    return int(any(one.verdict in (Verdict.WRONG, Verdict.BROKEN) for one in results.values()))


def chosen(only: str, *, fast: bool) -> list[Case]:
    """Return the cases of a comma-separated list of names or patterns; all of them for ''."""
    cases = all_cases()
    if fast:
        return [cases[name] for name in FAST]
    patterns = [word for word in only.split(",") if word]
    for word in patterns:
        if not fnmatch.filter(cases, word):
            raise UsageError(f"no model is called {word!r}", hint="Names: python -m corpus --list")
    return [
        case
        for name, case in cases.items()
        if not patterns or any(fnmatch.fnmatch(name, word) for word in patterns)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m corpus", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAMES", help="as in llama,gemma*,mamba2")
    parser.add_argument("--fast", action="store_true", help="the fixed part that CI runs")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument(
        "--executor",
        choices=list(EXECUTORS),
        default="native",
        help="native: the compiled artifact; reference: the interpreter",
    )
    parser.add_argument(
        "--time-limit", type=float, default=120.0, metavar="S", help="seconds a model may take"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="keep the results here, beside those of earlier runs"
    )
    parser.add_argument("--resume", action="store_true", help="leave out what --json has already")
    parser.add_argument(
        "--table", metavar="FILE", help="write all results into the table of this document"
    )
    parser.add_argument("--verbose", action="store_true", help="show stack traces")
    return parser


def _line(result: Result) -> str:
    error = "" if result.error is None else f" {result.error:.0e}"
    detail = ", ".join(result.generic) if result.right else " ".join(result.detail.split())
    return f"{result.name:<24} {result.verdict:<9}{error:>6} {result.seconds:5.1f} s  {detail}"


if __name__ == "__main__":
    sys.exit(main())
