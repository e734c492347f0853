"""Which columns heads take of an operand: each its own, or all the same."""

from ingot.ir import Piece


def takes_own(piece: Piece, width: int) -> bool:
    """Return whether every head takes the piece from a head of `width` columns of its own."""
    first, last = sorted((piece.offset, piece.offset + (piece.size - 1) * piece.step))
    return piece.stride == width and first >= 0 and last < width


def takes_the_same(piece: Piece) -> bool:
    """Return whether all heads take the same columns."""
    return piece.stride == 0
