"""Rounds the activations that integer kernels read, once for all readers of a value."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ingot.ir import (
    Encoding,
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

from .core import Contract, Pass, blocks, lossy, ops_of, option


@dataclass(frozen=True)
class RoundActivations(Pass):
    """Round the input of each linear, also those of experts, whose weight is stored as integers.

    With `encoding=int8-row` only that of linears whose weight has one scale a row as well: then a
    result is one sum of products of integers, and two scales.
    """

    contract: ClassVar[Contract] = lossy("rms", 0.05)

    encoding: Literal["int8-act", "int8-row"] = option(
        "int8-act", help="one scale for 32 features, or for a whole row"
    )

    def run(self, module: Module) -> None:
        for block in blocks(module):
            rounded: dict[Value, Value] = {}
            for op in ops_of(block):
                if isinstance(op, Experts) and self._reads_rounded(op.down):
                    rounding = attribute_of(True, op.context)
                    op.operation.attributes["round_hidden"] = rounding
                if not isinstance(op, Linear | Experts) or is_rounded(op.x):
                    continue
                if not self._reads_rounded(op.w if isinstance(op, Linear) else op.up):
                    continue
                if op.x not in rounded:
                    with before(op):
                        rounded[op.x] = Round(op.x, Encoding.parse(self.encoding)).out
                op.operation.operands[0] = rounded[op.x]

    def _reads_rounded(self, weight: Value) -> bool:
        """Return whether the weight is stored as integers that kernels multiply as such."""
        encoding = encoding_of(weight)
        if encoding is None or not encoding.rounds_activations:
            return False
        if self.encoding == "int8-act":
            return True
        # What lies between the linears of experts is rounded in groups.
        of_experts = any(isinstance(use.owner, Experts) for use in weight.uses)
        return encoding == Encoding.parse("int8") and not of_experts
