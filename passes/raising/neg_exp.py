"""Raises the rates of decay that models compute from their logarithms."""

from ingot.ir import NegExp, ToTorch, torch_dialect
from ingot.passes.bridging import same, weight
from ingot.passes.core import pattern, producer, replace


@pattern(benefit=2)
def neg_exp(op: torch_dialect.AtenNegOp) -> None:
    """`-exp(w)` of a weight."""
    below = producer(same(op.operands[0]), torch_dialect.AtenExpOp)
    w = None if below is None else weight(below.operands[0])
    if w is not None:
        replace(op, ToTorch(NegExp(w).out).out)
