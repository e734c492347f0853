"""A pass is a frozen dataclass: its fields are its options, its text form is the command line.

    @dataclass(frozen=True)
    class Quantize(Pass):
        linear: str = option("int4-g32", help="encoding of linear weights")

The name is that of the file that defines it, with dashes: `merge_linears.py` holds `merge-linears`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from inspect import getdoc
from typing import ClassVar

from ingot.ir import Module

from .contract import Contract
from .options import check_options, format_options


@dataclass(frozen=True)
class Pass(ABC):
    """One rewrite of a module.  A subclass adds its options as fields and defines `run`."""

    contract: ClassVar[Contract]
    """How far the result may lie from the input."""

    def __post_init__(self) -> None:
        check_options(self, where=f"pass {self.name()}")
        self.check()

    @classmethod
    def name(cls) -> str:
        """Return the name on the command line: that of the defining file, with dashes."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    @classmethod
    def description(cls) -> str:
        """Return what the pass does: the first line of its docstring."""
        return (getdoc(cls) or "").partition("\n")[0]

    def check(self) -> None:  # noqa: B027 - most passes have nothing to add
        """Raise UsageError for options that are wrong together, or beyond what their types say."""

    def promise(self) -> Contract:
        """Return the contract under these options; most passes have one for all."""
        return self.contract

    @abstractmethod
    def run(self, module: Module) -> None:
        """Rewrite `module` in place.  A module on which there is nothing to do stays as it is."""

    def __str__(self) -> str:
        return self.name() + format_options(self)
