"""`lm.arrange`: features in another order, head by head."""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from ingot.ir.checks import require_activation
from ingot.ir.costs import bytes_of
from ingot.ir.interpreter.values import Datum
from ingot.ir.mlir import OpResult, Value
from ingot.ir.operation import Cost, Op, Place
from ingot.ir.pieces import Piece, arranged, arranged_size, pieces_text, require_pieces
from ingot.ir.references import tensor_of
from ingot.ir.types import activation_type, columns_of

MOST_OPERANDS = 4


class Arrange(Op, name="arrange"):
    """`heads` heads, each made of pieces of the operands' heads: parts split off, joined, repeated.

    `pieces` is `operand offset stride step size; ...` as `ingot.ir.pieces` says.  1 to 4 operands:
    they are fields of their own because they differ in type; `parts` gives those that are there.
    """

    row_wise = True

    first: Value
    heads: int
    pieces: str
    out: OpResult
    second: Value | None = None
    third: Value | None = None
    fourth: Value | None = None

    def __init__(
        self,
        parts: Sequence[Value],
        *,
        heads: int,
        pieces: Sequence[Piece],
        **place: Unpack[Place],
    ) -> None:
        assert 1 <= len(parts) <= MOST_OPERANDS, f"{len(parts)} operands"
        padding = [None] * (MOST_OPERANDS - len(parts))
        text = pieces_text(pieces)
        target = activation_type(arranged_size(heads, text), parts[0].context)
        self.build([*parts, *padding], [target], {"heads": heads, "pieces": text}, **place)

    @property
    def parts(self) -> list[Value]:
        """The operands, in order."""
        return list(self.operands)

    def check(self) -> None:
        for index, part in enumerate(self.parts):
            require_activation(f"operand {index}", part)
        require_pieces(self.pieces, self.heads, [columns_of(part) for part in self.parts])
        require_activation("the result", self.out, arranged_size(self.heads, self.pieces))

    def reference(self, *inputs: Datum) -> Tensor:
        return arranged([tensor_of(datum) for datum in inputs], self.heads, self.pieces)

    def cost(self, tokens: int, context: int = 0) -> Cost:
        return Cost(0, 2 * bytes_of(self.out, tokens))
