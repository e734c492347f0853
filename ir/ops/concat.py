"""`lm.concat`: weights one below the other."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require, require_same_type, require_tensor
from ingot.ir.costs import traffic
from ingot.ir.dialect import Quant
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, RankedTensorType, Type, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.quant_tensor import QuantTensor, concatenate
from ingot.ir.references import tensor_of
from ingot.ir.types import encoding_of, logical_type, shape_of, tensor_type

MOST_PARTS = 8


class Concat(Op, name="concat"):
    """The parts joined along the first dimension (outputs); all of one encoding and one K.

    2 to 8 parts: the operands are fields of their own because the parts differ in type, which the
    binding's variadic operands do not allow.  `parts` gives those that are there.
    """

    first: Value
    second: Value
    out: OpResult
    third: Value | None = None
    fourth: Value | None = None
    fifth: Value | None = None
    sixth: Value | None = None
    seventh: Value | None = None
    eighth: Value | None = None

    def __init__(
        self,
        parts: Sequence[Value],
        **place: Unpack[Place],
    ) -> None:
        assert 2 <= len(parts) <= MOST_PARTS, f"{len(parts)} parts"
        padding = [None] * (MOST_PARTS - len(parts))
        self.build([*parts, *padding], [_joined([part.type for part in parts])], **place)

    @property
    def parts(self) -> list[Value]:
        """The operands, in order."""
        return list(self.operands)

    def check(self) -> None:
        first = require_tensor("the first part", self.first)
        for index, part in enumerate(self.parts):
            name = f"part {index + 1}"
            tensor = require_tensor(name, part)
            same = (
                encoding_of(part) == encoding_of(self.first)
                and tensor.element_type == first.element_type
                and shape_of(part)[1:] == shape_of(self.first)[1:]
            )
            require(
                same,
                f"needs parts of one encoding and K: {name} is {part.type}, "
                f"part 1 is {self.first.type}",
            )
        joined = _joined([part.type for part in self.parts])
        require_same_type("the result", self.out, "the joined parts", joined)

    def reference(self, *inputs: Datum) -> Tensor | QuantTensor:
        if isinstance(inputs[0], QuantTensor):
            return concatenate([part for part in inputs if isinstance(part, QuantTensor)])
        return torch.cat([tensor_of(part) for part in inputs])

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, traffic(self, tokens))


def _joined(kinds: Sequence[Type]) -> Type:
    logical = logical_type(kinds[0])
    rows = sum(shape_of(kind)[0] for kind in kinds)
    joined: RankedTensorType = tensor_type([rows, *shape_of(kinds[0])[1:]], logical.element_type)
    encoding = encoding_of(kinds[0])
    return joined if encoding is None else Quant.of(joined, encoding)
