"""Find the operation at which an artifact or a module departs from a reference."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingot.compiler.bisect import Bisection

HELP = "find the operation at which an artifact or a module departs from a reference"
TOLERANCE = 0.01
RANKED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot bisect`."""
    kinds = "an artifact, a module (text or bytecode), or a checkpoint"
    parser.add_argument("found", metavar="ARTIFACT_OR_MODULE", help=kinds)
    parser.add_argument("--against", required=True, metavar="REFERENCE", help=kinds)
    parser.add_argument(
        "--weights",
        metavar="CHECKPOINT",
        help="the weights of both; default: those of a side that is a checkpoint, else random ones",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        metavar="X",
        help="relative error beyond which values diverge (default: %(default)s)",
    )
    parser.add_argument(
        "--metric",
        choices=("rms", "largest"),
        default="rms",
        help="root mean square, or largest, difference over that of the reference (default: rms)",
    )
    parser.add_argument(
        "--rank",
        type=int,
        default=RANKED,
        metavar="N",
        help="how many encoded weights to try as floats, one at a time (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sample's tokens")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the table, and return 1 where the logits diverge, 0 where they do not."""
    from ingot.compiler.bisect import bisect, common_weights, open_side

    found, reference = open_side(arguments.found), open_side(arguments.against)
    weights = common_weights(found, reference, arguments.weights)
    print("interpreting both", file=sys.stderr)
    result = bisect(
        found,
        reference,
        weights,
        tolerance=arguments.tolerance,
        metric=arguments.metric,
        rank=arguments.rank,
        seed=arguments.seed,
    )
    print(json.dumps(to_json(result), indent=1) if arguments.json else format_bisection(result))
    return 1 if result.diverges else 0


def format_bisection(result: "Bisection") -> str:
    """Return the table of operations, the first that diverges, and the costliest weights."""
    lines = ["   error     added  operation"]
    lines += [f"{one.error:8.2e}  {one.added:+8.1e}  {one}" for one in result.differences]
    lines += ["", f"logits differ by {result.logits:.3g}; tolerance {result.tolerance:g}"]
    if result.native is not None:
        lines.append(f"native executor differs from the interpreter by {result.native:.3g}")
    if result.culprit is None:
        lines.append("no operation departs")
    elif result.culprit.error > result.tolerance:
        lines.append(f"first operation that diverges: {result.culprit}")
    else:
        lines.append(f"no operation diverges; the most is added by {result.culprit}")
    if result.effects:
        lines += ["", "logits differ by, with one weight as floats:"]
        lines += [
            f"{one.error_without:8.2e}  {-one.gain:+8.1e}  {' + '.join(one.symbols)}"
            for one in result.effects
        ]
    return "\n".join(lines)


def to_json(result: "Bisection") -> dict[str, Any]:
    """Return the result as JSON values."""
    culprit = result.culprit
    return {
        "diverges": result.diverges,
        "tolerance": result.tolerance,
        "logits": result.logits,
        "native": result.native,
        "culprit": None if culprit is None else culprit.found.number,
        "operations": [
            {
                "number": one.found.number,
                "operation": one.found.operation,
                "module": one.found.place.module,
                "place": one.found.place.place,
                "error": one.error,
                "added": one.added,
            }
            for one in result.differences
        ],
        "weights": [
            {"symbols": one.symbols, "error_without": one.error_without, "gain": one.gain}
            for one in result.effects
        ],
    }
