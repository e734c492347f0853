"""Lets devices send each other narrower floats: half the bytes on the links of a mesh."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ingot.ir import (
    AllGather,
    AllReduce,
    Module,
    ReduceScatter,
    attribute_of,
    is_choice,
    is_rounded,
)

from .core import Contract, Pass, blocks, ops_of, option, rounding


@dataclass(frozen=True)
class NarrowExchanges(Pass):
    """Send the terms of sums, and rows that are gathered, as numbers of a narrower type.

    What is gathered by columns stays as it is: those are logits, and the parts of rows that a norm
    is about to add up.
    """

    contract: ClassVar[Contract] = rounding(0.05)

    dtype: Literal["bfloat16", "float32"] = option("bfloat16", help="of the numbers that are sent")

    def run(self, module: Module) -> None:
        for block in blocks(module):
            for op in ops_of(block):
                if self._may_narrow(op):
                    op.operation.attributes["dtype"] = attribute_of(self.dtype, op.context)

    def _may_narrow(self, op: object) -> bool:
        if isinstance(op, AllGather):
            return op.dim == 0 and not is_rounded(op.x) and not is_choice(op.x)
        return isinstance(op, AllReduce | ReduceScatter)
