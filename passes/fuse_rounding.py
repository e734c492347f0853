"""Folds the rounding of activations into the op that makes them."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import Module, Op, Round

from .core import EXACT, Contract, Pass, pattern, replace, rewrite


@dataclass(frozen=True)
class FuseRounding(Pass):
    """Let ops that can round do so, where every reader wants rounded values."""

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        rewrite(module, (fold_rounding,))


@pattern
def fold_rounding(op: Round) -> None:
    """`round(x)`, where x is the last result of an op that can round and all readers round so."""
    x = op.x
    maker = x.owner
    if not isinstance(maker, Op) or not maker.can_round or x != maker.operation.results[-1]:
        return
    readers = [use.owner for use in x.uses]
    rounded_type = op.out.type
    if not all(isinstance(one, Round) and one.out.type == rounded_type for one in readers):
        return
    for reader in readers:
        replace(reader, x)
    x.set_type(rounded_type)
