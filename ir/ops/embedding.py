"""`lm.embedding`: the rows of a table that the tokens name."""

from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require_activation, require_indices, require_shape, require_tensor
from ingot.ir.costs import bits_of, bytes_of, elements_of
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.references import tensor_of
from ingot.ir.types import activation_type, columns_of, shape_of


class Embedding(Op, name="embedding"):
    """`table[tokens]` in f32; the table `[vocabulary, features]` may be encoded.

    The row of token -1 is zeros: what `lm.local_ids` makes of tokens that another device holds.
    """

    tokens: Value
    table: Value
    out: OpResult

    def __init__(
        self,
        tokens: Value,
        table: Value,
        **place: Unpack[Place],
    ) -> None:
        target = activation_type(columns_of(table), table.context)
        self.build([tokens, table], [target], **place)

    def check(self) -> None:
        require_indices("tokens", self.tokens)
        require_tensor("table", self.table)
        require_shape("table", self.table, [None, None])
        require_activation("the result", self.out, shape_of(self.table)[1])

    def reference(self, *inputs: Datum) -> Tensor:
        tokens, table = tensor_of(inputs[0]).long(), inputs[1]
        missing, present = (tokens == -1).unsqueeze(-1), tokens.masked_fill(tokens == -1, 0)
        if isinstance(table, QuantTensor):
            return table.rows(present).dequantize().masked_fill(missing, 0.0)
        rows = tensor_of(table)[present].masked_fill(missing, 0.0)
        # An oracle in float64 may have computed the table.
        return rows if rows.dtype == torch.float64 else rows.to(torch.float32)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        gathered = elements_of(self.out, tokens) * bits_of(self.table) / 8
        return Cost(
            elements_of(self.out, tokens),
            gathered + bytes_of(self.tokens, tokens) + bytes_of(self.out, tokens),
        )
