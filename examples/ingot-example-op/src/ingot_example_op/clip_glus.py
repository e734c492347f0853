"""Clamps what gated units read, so that few outliers do not coarsen the rounding of the rest."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import Glu, Module, is_rounded
from ingot.passes import Contract, Pass, lossy, option, pattern, replace, rewrite

from .clipped_glu import ClippedGlu


@dataclass(frozen=True)
class ClipGlus(Pass):
    """Make clipped gated units of gated units."""

    contract: ClassVar[Contract] = lossy("rms", 0.5)

    limit: float = option(7.0, help="the largest magnitude that passes", minimum=1e-3)

    def run(self, module: Module) -> None:
        @pattern
        def clip(op: Glu) -> None:
            rounded = is_rounded(op.out)
            clipped = ClippedGlu(op.gate, op.up, kind=op.kind, limit=self.limit, rounded=rounded)
            replace(op, clipped.out)

        rewrite(module, [clip])
