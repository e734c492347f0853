"""Raises torch ops to the `lm` dialect, by one pattern a file in `raising/`."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import ClassVar

from ingot.errors import UsageError
from ingot.ir import Module, torch_dialect

from .canonicalize import merge_equal
from .core import EXACT, Contract, Pass, Pattern, blocks, erase_dead, ops_of, option, rewrite


@dataclass(frozen=True)
class Raise(Pass):
    """Raise torch ops to the lm dialect; `without` leaves patterns out, by file name.

    What no pattern recognises stays in torch between bridges.
    """

    contract: ClassVar[Contract] = EXACT

    without: tuple[str, ...] = option((), help="patterns to leave out, by file name")

    def run(self, module: Module) -> None:
        groups = pattern_groups()
        unknown = sorted(set(self.without) - set(groups))
        if unknown:
            raise UsageError(
                f"no raising pattern {', '.join(map(repr, unknown))}",
                where="pass raise",
                hint="Patterns: " + ", ".join(groups) + ".",
            )
        for block in blocks(module):
            for op in ops_of(block):
                # Checks of the exporter on types that the IR's own types already state.
                if isinstance(op, torch_dialect.Aten_AssertTensorMetadataOp):
                    op.operation.erase()
            merge_equal(block)
            erase_dead(block)
        rewrite(module, (p for n, group in groups.items() if n not in self.without for p in group))
        for block in blocks(module):
            merge_equal(block)
            erase_dead(block)


def pattern_groups() -> dict[str, tuple[Pattern, ...]]:
    """Return the raising patterns by the name of their file."""
    folder = Path(__file__).parent / "raising"
    names = sorted(entry.name for entry in iter_modules([str(folder)]))
    return {name: _patterns_of(name) for name in names}


def _patterns_of(name: str) -> tuple[Pattern, ...]:
    module = import_module(f"ingot.passes.raising.{name}")
    found = tuple(member for member in vars(module).values() if isinstance(member, Pattern))
    assert found, f"passes/raising/{name}.py defines no pattern"
    return found
