"""Say before compiling whether a model compiles, and what of it takes the generic route."""

import argparse
import json

HELP = "say whether a model compiles, and what of it takes the generic route"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot doctor`."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a Hugging Face folder, a config.json alone, a .gguf file, or a built-in model",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Examine the model and print what was found; exit code 1 where it does not compile."""
    # The compiler's imports (torch, MLIR, transformers) take seconds: not before they are needed.
    from dataclasses import asdict

    from ingot.compiler.doctor import examine
    from ingot.compiler.doctor_table import format_diagnosis
    from ingot.models import fetch_builtin, is_builtin

    asked = arguments.model
    model = fetch_builtin(word=asked) if is_builtin(asked) else asked
    found = examine(model)
    if arguments.json:
        print(json.dumps({**asdict(found), "compiles": found.compiles}, indent=1))
    else:
        print(format_diagnosis(found))
    return 0 if found.compiles else 1
