"""Options that the commands which run a model share."""

import argparse
from dataclasses import replace
from typing import Any

from ingot.runtime import SamplingParams

SAMPLING = {
    "temperature": (float, "0: the likeliest token"),
    "top_k": (int, "only the K likeliest tokens"),
    "top_p": (float, "only the likeliest tokens that together have this probability"),
    "min_p": (float, "only tokens at least this fraction as likely as the likeliest"),
    "repetition_penalty": (float, "above 1: avoid tokens of prompt and output"),
    "presence_penalty": (float, "above 0: avoid tokens of the output"),
    "frequency_penalty": (float, "above 0: avoid tokens by their number in the output"),
    "seed": (int, "the same seed gives the same output"),
}


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the artifact and how it is loaded."""
    parser.add_argument("artifact", metavar="ARTIFACT", help="the folder that ingot compile wrote")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all cores")
    parser.add_argument(
        "--max-model-len", type=int, metavar="N", help="tokens of prompt and output together"
    )
    parser.add_argument(
        "--kv-memory",
        type=float,
        metavar="GIB",
        help="KV cache; default: a quarter of what is free",
    )


def executor_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `NativeExecutor` is to be told."""
    if arguments.kv_memory is None:
        return {}
    return {"kv_memory": int(arguments.kv_memory * 2**30)}


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the fields of `SamplingParams`; what is left out is the model's default."""
    group = parser.add_argument_group("sampling", "Default: what the model's configuration says.")
    for name, (kind, text) in SAMPLING.items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X", help=text)
    group.add_argument("--stop", action="append", metavar="TEXT", help="end before this text")


def sampling_params(arguments: argparse.Namespace, defaults: SamplingParams) -> SamplingParams:
    """Return `defaults` with what the user has said."""
    given = {name: value for name in SAMPLING if (value := getattr(arguments, name)) is not None}
    return replace(defaults, **given, stop=tuple(arguments.stop or ()))
