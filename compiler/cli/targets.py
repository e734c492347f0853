"""List the targets, and say of each what it needs."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ingot.errors import UnsupportedError

HELP = "list what can be compiled for, and what is missing for it"
WIDTH = 8
"""Of the names of families."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot targets`."""
    parser.add_argument(
        "--json", action="store_true", help="print them as JSON, with numbers of the hardware"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print each family with its variants, and the command that installs what is absent."""
    # The compiler's imports (torch, MLIR, transformers) take seconds: not before they are needed.
    from ingot.targets import target_names

    families = [_facts(family) for family in sorted(target_names())]
    print(json.dumps(families, indent=1) if arguments.json else "\n".join(map(_lines, families)))
    return 0


def _facts(family: str) -> dict[str, Any]:
    """Return what there is to know of a family; the hardware is that of its first member."""
    from ingot.targets import find_target

    target = find_target(family)
    return {
        "family": family,
        "description": target.description,
        "variants": list(target.variants),
        "default": target.label,
        "hardware": asdict(target.hardware) if target.hardware else None,
        "missing": _missing(target.require),
    }


def _lines(facts: dict[str, Any]) -> str:
    family, default = facts["family"], facts["default"]
    lines = [f"{family.ljust(WIDTH)}{facts['description']}"]
    if facts["variants"]:
        alone = f"; {family} alone is {default}" if default != family else ""
        lines.append(", ".join(f"{family}:{name}" for name in facts["variants"]) + alone)
    lines.append(facts["missing"] or "ready")
    return f"\n{' ' * WIDTH}".join(lines)


def _missing(require: Callable[[], object]) -> str:
    """Return why compiling for a target cannot begin, and what to do; empty where it can."""
    try:
        require()
    except UnsupportedError as error:
        return f"{error.message}. {error.hint}"
    return ""
