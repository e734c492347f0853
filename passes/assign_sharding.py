"""Chooses how a module is divided over the devices of a mesh."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import Mesh, Module

from .core import EXACT, Contract, Pass, option
from .sharding import choose_shardings


@dataclass(frozen=True)
class AssignSharding(Pass):
    """Choose the shardings of weights and the stages of layers for a mesh.

    What is divided follows from the role of each operation: heads, hidden features and vocabulary
    along tp, experts along ep, layers along pp; dp and ep divide sequences, cp cached tokens.
    Until `partition` writes the program of a device, every device computes everything.
    """

    contract: ClassVar[Contract] = EXACT

    mesh: str = option("", help="devices, as in dp2xtp4; axes dp, tp, pp, ep, cp; empty: one")
    sequence: bool = option(False, help="divide rows along tp between layers (sequence parallel)")

    def check(self) -> None:
        if self.mesh:
            Mesh.parse(self.mesh)

    def run(self, module: Module) -> None:
        if self.mesh:
            choose_shardings(module, Mesh.parse(self.mesh), self.sequence)
