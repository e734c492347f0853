"""Measure the perplexity of an artifact on English text."""

import argparse
import json
import sys
from dataclasses import asdict

from ingot.compiler.evaluate import (
    WINDOW_TOKENS,
    WINDOWS,
    cut_windows,
    english_text,
    evaluate_perplexity,
)
from ingot.runtime import LLM

HELP = "measure the perplexity of an artifact on English text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot evaluate`."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="a folder that ingot compile wrote")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="default: %(default)s")
    parser.add_argument(
        "--window-tokens", type=int, default=WINDOW_TOKENS, help="default: %(default)s"
    )
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Score the windows and print the perplexity."""
    with LLM(arguments.artifact, threads=arguments.threads) as model:
        model.require("generate")
        tokenizer = model.text.require_tokenizer()
        tokens = tokenizer.encode(english_text(), add_special_tokens=False)
        windows = cut_windows(tokens, arguments.windows, arguments.window_tokens)
        evaluation = evaluate_perplexity(
            model, windows, lambda done: print(f"window {done + 1}/{len(windows)}", file=sys.stderr)
        )
    if arguments.json:
        print(json.dumps(asdict(evaluation)))
    else:
        print(
            f"perplexity {evaluation.perplexity:.4f} over {evaluation.predictions} predictions "
            f"({evaluation.windows} windows)"
        )
    return 0
