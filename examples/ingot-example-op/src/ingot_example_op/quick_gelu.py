"""Approximates GELU by a sigmoid."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import Activation, Module
from ingot.passes import Contract, Pass, lossy, option, pattern, replace, rewrite

from .quick_gelu_op import QuickGelu


@dataclass(frozen=True)
class QuickGelus(Pass):
    """Make the sigmoid's approximation of GELU of both its forms."""

    contract: ClassVar[Contract] = lossy("rms", 0.05)

    steepness: float = option(1.702, help="factor within the sigmoid", minimum=1, maximum=2)

    def run(self, module: Module) -> None:
        @pattern
        def approximate(op: Activation) -> None:
            if op.kind in ("gelu", "gelu_tanh"):
                replace(op, QuickGelu(op.x, steepness=self.steepness).out)

        rewrite(module, [approximate])
