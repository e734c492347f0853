"""`lm.embedding`: the rows of a table that the tokens name."""

from typing import Unpack

from ingot.ir.checks import require_activation, require_indices, require_shape, require_tensor
from ingot.ir.dialect import Op, Place
from ingot.ir.mlir import OpResult, Value
from ingot.ir.types import activation_type, columns_of, shape_of


class Embedding(Op, name="embedding"):
    """`table[tokens]` in f32; the table `[vocabulary, features]` may be encoded."""

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
