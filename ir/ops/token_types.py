"""`lm.token_types`: which of several texts each token of a sequence belongs to."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require_batch, require_indices
from ingot.ir.costs import traffic
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.references import batch_of
from ingot.ir.types import index_type


class TokenTypes(Op, name="token_types"):
    """The segment of each token, as BERT numbers them: 0 in a text alone or first, 1 in a second.

    Devlin et al., 2019.
    """

    batch: Value
    out: OpResult

    def __init__(self, batch: Value, **place: Unpack[Place]) -> None:
        self.build([batch], [index_type(batch.context)], **place)

    def check(self) -> None:
        require_batch("batch", self.batch)
        require_indices("the result", self.out)

    def reference(self, *inputs: Datum) -> Tensor:
        batch = batch_of(inputs[0])
        given = batch.token_types
        return torch.tensor(given or [0] * batch.starts[-1], dtype=torch.int32)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, traffic(self, tokens))
