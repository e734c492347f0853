"""Rounds activations for integer and bfloat16 kernels, once for all readers of a value."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ingot.ir import (
    BF16_ACTIVATION,
    Encoding,
    Experts,
    Linear,
    Module,
    Round,
    Route,
    Value,
    attribute_of,
    before,
    encoding_of,
    is_bfloat16,
    is_rounded,
)

from .core import Contract, Pass, blocks, lossy, ops_of, option


@dataclass(frozen=True)
class RoundActivations(Pass):
    """Round the input of each linear, also those of experts, whose weight is stored as integers.

    With `encoding=int8-row` only that of linears whose weight has one scale a row as well: then a
    result is one sum of products of integers, and two scales.  With `bfloat16` also that of linears
    whose weight is bfloat16, except of those that only choose experts.
    """

    contract: ClassVar[Contract] = lossy("rms", 0.05)

    encoding: Literal["int8-act", "int8-row"] = option(
        "int8-act", help="one scale for 32 features, or for a whole row"
    )
    bfloat16: bool = option(False, help="round to bfloat16 before weights of bfloat16")

    def run(self, module: Module) -> None:
        for block in blocks(module):
            rounded: dict[tuple[Value, Encoding], Value] = {}
            for op in ops_of(block):
                if isinstance(op, Experts) and self._wanted(op.down):
                    rounding = attribute_of(True, op.context)
                    op.operation.attributes["round_hidden"] = rounding
                if not isinstance(op, Linear | Experts) or is_rounded(op.x) or _chooses(op):
                    continue
                encoding = self._wanted(op.w if isinstance(op, Linear) else op.up)
                if encoding is None:
                    continue
                key = op.x, encoding
                if key not in rounded:
                    with before(op):
                        rounded[key] = Round(op.x, encoding).out
                op.operation.operands[0] = rounded[key]

    def _wanted(self, weight: Value) -> Encoding | None:
        """Return the encoding of what is multiplied with a weight, None for floats as they are."""
        stored, wanted = encoding_of(weight), Encoding.parse(self.encoding)
        if stored is None:
            return BF16_ACTIVATION if self.bfloat16 and is_bfloat16(weight) else None
        if not stored.rounds_activations:
            return None
        # What lies between the linears of experts is rounded in groups.
        of_experts = any(isinstance(use.owner, Experts) for use in weight.uses)
        rows = stored == Encoding.parse("int8") and not of_experts
        return wanted if wanted.group or rows else None


def _chooses(op: Linear | Experts) -> bool:
    """Return whether only routers read what is computed: with rounded inputs they choose others."""
    if not isinstance(op, Linear) or encoding_of(op.w) is not None:
        return False
    readers = [use.owner for use in op.out.uses]
    return bool(readers) and all(isinstance(reader, Route) for reader in readers)
