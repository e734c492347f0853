"""`lm.arrange_rows`: rows of a weight in another order."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from ingot.ir.checks import require, require_same_type, require_tensor
from ingot.ir.costs import bytes_of
from ingot.ir.dialect import Quant
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Type, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.pieces import (
    Piece,
    arranged_size,
    parse_pieces,
    pieces_text,
    require_pieces,
)
from ingot.ir.quant_tensor import QuantTensor
from ingot.ir.references import tensor_of
from ingot.ir.types import encoding_of, logical_type, shape_of, tensor_type


class ArrangeRows(Op, name="arrange_rows"):
    """Rows (outputs) of a weight `[N, ...]`, which may be encoded, in the order of `pieces`.

    So a linear on these makes what `lm.arrange` makes of the linear on w.  `pieces` is as there,
    with the one operand 0.
    """

    w: Value
    heads: int
    pieces: str
    out: OpResult

    def __init__(
        self, w: Value, *, heads: int, pieces: Sequence[Piece], **place: Unpack[Place]
    ) -> None:
        text = pieces_text(pieces)
        target = _with_rows(w, arranged_size(heads, text))
        self.build([w], [target], {"heads": heads, "pieces": text}, **place)

    def check(self) -> None:
        require_tensor("w", self.w)
        require(len(shape_of(self.w)) > 0, f"needs w of 1 dimension or more, found {self.w.type}")
        require_pieces(self.pieces, self.heads, [shape_of(self.w)[0]])
        target = _with_rows(self.w, arranged_size(self.heads, self.pieces))
        require_same_type("the result", self.out, "the rows", target)

    def reference(self, *inputs: Datum) -> Tensor | QuantTensor:
        columns = [piece.columns(self.heads) for piece in parse_pieces(self.pieces)]
        rows = torch.cat(columns, dim=-1).flatten()
        w = inputs[0]
        return w.rows(rows) if isinstance(w, QuantTensor) else tensor_of(w)[rows]

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, 2 * bytes_of(self.out, tokens))


def _with_rows(w: Value, rows: int) -> Type:
    logical = logical_type(w)
    target = tensor_type([rows, *shape_of(w)[1:]], logical.element_type)
    encoding = encoding_of(w)
    return target if encoding is None else Quant.of(target, encoding)
