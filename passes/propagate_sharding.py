"""Spreads the shardings of weights over all values."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import Module

from .core import EXACT, Contract, Pass
from .sharding import propagate


@dataclass(frozen=True)
class PropagateSharding(Pass):
    """Find the sharding of every value from those of the weights."""

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        propagate(module)
