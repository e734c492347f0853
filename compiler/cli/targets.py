"""List the targets, and say of each what it needs."""

import argparse
from collections.abc import Callable

from ingot.errors import UnsupportedError

HELP = "list what can be compiled for, and what is missing for it"
WIDTH = 8
"""Of the names of families."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ingot targets`: none."""


def run(arguments: argparse.Namespace) -> int:
    """Print each family with its variants, and the command that installs what is absent."""
    # The compiler's imports (torch, MLIR, transformers) take seconds: not before they are needed.
    from ingot.targets import find_target, target_names

    for family in sorted(target_names()):
        target = find_target(family)
        print(f"{family.ljust(WIDTH)}{target.description}")
        if target.variants:
            names = ", ".join(f"{family}:{name}" for name in target.variants)
            alone = f"; {family} alone is {target.label}" if target.variant else ""
            print(f"{' ' * WIDTH}{names}{alone}")
        print(f"{' ' * WIDTH}{_state(target.require)}")
    return 0


def _state(require: Callable[[], object]) -> str:
    """Return whether compiling for a target can begin, or what to do first."""
    try:
        require()
    except UnsupportedError as error:
        return f"{error.message}. {error.hint}"
    return "ready"
