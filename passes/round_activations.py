"""Rounds the activations that integer kernels read, once for all readers of a value."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import Linear, Module, Round, Value, before, encoding_of, is_rounded

from .core import Contract, Pass, blocks, lossy, ops_of


@dataclass(frozen=True)
class RoundActivations(Pass):
    """Round the input of each linear whose weight is stored as integers."""

    contract: ClassVar[Contract] = lossy("rms", 0.05)

    def run(self, module: Module) -> None:
        for block in blocks(module):
            rounded: dict[Value, Value] = {}
            for op in ops_of(block):
                if not isinstance(op, Linear) or encoding_of(op.w) is None or is_rounded(op.x):
                    continue
                if op.x not in rounded:
                    with before(op):
                        rounded[op.x] = Round(op.x).out
                op.operation.operands[0] = rounded[op.x]
