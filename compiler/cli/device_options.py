"""Options of a compile for several devices, and for targets whose steps have fixed sizes."""

import argparse
from typing import Any


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the mesh, the context and the sizes of steps."""
    parser.add_argument(
        "--mesh",
        default="",
        metavar="MESH",
        help="devices by axes, as in tp4 or dp2xtp4; auto: what `ingot plan` ranks first; "
        "default: tensor parallel over all devices of the target",
    )
    parser.add_argument(
        "--sequence-parallel",
        action="store_true",
        help="divide the tokens between the layers along tp",
    )
    parser.add_argument(
        "--context", type=_count, default=0, metavar="N", help="most tokens of a sequence"
    )
    parser.add_argument(
        "--kv-pages", type=_count, default=0, metavar="N", help="pages of the KV cache"
    )
    parser.add_argument(
        "--decode-batches",
        type=_counts,
        default=(),
        metavar="LIST",
        help="sequences of the decoding steps to compile, as in 1,8,32",
    )
    parser.add_argument(
        "--prefill-tokens",
        type=_counts,
        default=(),
        metavar="LIST",
        help="tokens of the other steps to compile, as in 64,512",
    )
    parser.add_argument(
        "--activations",
        choices=("auto", "float", "int8"),
        default="auto",
        help="inputs of linears with integer weights; auto: int8 on the CPU target, else float",
    )


def device_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `Settings` that these options give."""
    from ingot.targets import STEP_SETTINGS

    return {name: getattr(arguments, name) for name in ("mesh", *STEP_SETTINGS)}


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return count


def _counts(text: str) -> tuple[int, ...]:
    return tuple(sorted({_count(part.strip()) for part in text.split(",")}))
