"""Makes the module the program of one device."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import Module

from .core import EXACT, Contract, Pass
from .sharding import write_program


@dataclass(frozen=True)
class Partition(Pass):
    """Write the program of a device: local shapes, parts of weights, collectives."""

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        write_program(module)
