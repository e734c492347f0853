"""Which columns an arrangement takes, head by head, in a text that attributes hold.

An arrangement makes `heads` heads of equal size; each is a row of pieces.  A piece `(operand,
offset, stride, step, size)` is `size` columns of an operand: in head h those at
`offset + h * stride + i * step` for i below size.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from .checks import require
from .fields import InvalidOp


@dataclass(frozen=True)
class Piece:
    """A part of every head of an arrangement."""

    operand: int
    offset: int
    stride: int
    step: int
    size: int

    def column(self, head: int, index: int) -> int:
        """Return the column of the operand that stands at `index` of the piece in `head`."""
        return self.offset + head * self.stride + index * self.step

    def bounds(self, heads: int) -> tuple[int, int]:
        """Return the smallest and the largest column taken."""
        corners = [self.column(h, i) for h in (0, heads - 1) for i in (0, self.size - 1)]
        return min(corners), max(corners)

    def columns(self, heads: int) -> Tensor:
        """Return the columns taken `[heads, size]`, int64."""
        head = torch.arange(heads).unsqueeze(1) * self.stride
        return self.offset + head + torch.arange(self.size) * self.step


def pieces_text(pieces: Sequence[Piece]) -> str:
    """Return the text of `pieces`: `0 0 24 1 12; 1 0 0 1 4`."""
    return "; ".join(" ".join(map(str, astuple(piece))) for piece in pieces)


def parse_pieces(text: str) -> tuple[Piece, ...]:
    """Read what `pieces_text` writes; raises InvalidOp for anything else."""
    try:
        found = tuple(Piece(*map(int, part.split())) for part in text.split(";"))
    except (ValueError, TypeError):
        raise InvalidOp(f"needs pieces of five integers each, found {text!r}") from None
    return found


def require_pieces(text: str, heads: int, columns: Sequence[int]) -> None:
    """Require pieces that lie within operands of so many `columns`, all of which are used."""
    require(heads > 0, f"needs heads above 0, found {heads}")
    pieces = parse_pieces(text)
    used = {piece.operand for piece in pieces}
    operands = set(range(len(columns)))
    require(used == operands, f"needs pieces of the operands {operands}, found {used}")
    for piece in pieces:
        require(piece.size > 0, f"needs pieces of size 1 or more, found {piece.size}")
        least, most = piece.bounds(heads)
        limit = columns[piece.operand]
        require(
            0 <= least and most < limit,
            f"needs columns of operand {piece.operand} below {limit}, found {least} to {most}",
        )


def arranged(operands: Sequence[Tensor], heads: int, text: str) -> Tensor:
    """Return the arrangement of the last dimension of the operands `[..., columns]`."""
    parts = [operands[p.operand][..., p.columns(heads)] for p in parse_pieces(text)]
    return torch.cat(parts, dim=-1).flatten(-2)


def arranged_size(heads: int, text: str) -> int:
    """Return how many columns an arrangement has."""
    return heads * sum(piece.size for piece in parse_pieces(text))
