"""Rounds the activations that integer kernels read, once for all readers of a value."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import (
    Experts,
    Linear,
    Module,
    Round,
    Value,
    attribute_of,
    before,
    encoding_of,
    is_rounded,
)

from .core import Contract, Pass, blocks, lossy, ops_of


@dataclass(frozen=True)
class RoundActivations(Pass):
    """Round the input of each linear, also those of experts, whose weight is stored as integers."""

    contract: ClassVar[Contract] = lossy("rms", 0.05)

    def run(self, module: Module) -> None:
        for block in blocks(module):
            rounded: dict[Value, Value] = {}
            for op in ops_of(block):
                if isinstance(op, Experts) and _is_integer(op.down):
                    rounding = attribute_of(True, op.context)
                    op.operation.attributes["round_hidden"] = rounding
                if not isinstance(op, Linear | Experts) or is_rounded(op.x):
                    continue
                if not _is_integer(op.w if isinstance(op, Linear) else op.up):
                    continue
                if op.x not in rounded:
                    with before(op):
                        rounded[op.x] = Round(op.x).out
                op.operation.operands[0] = rounded[op.x]


def _is_integer(weight: Value) -> bool:
    """Return whether the weight is stored as integers that kernels multiply as such."""
    encoding = encoding_of(weight)
    return encoding is not None and encoding.rounds_activations
