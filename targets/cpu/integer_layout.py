"""The layout of a block of packed integer weights: 16 outputs by a span of K.

Codes come first, then a float16 scale of each group and output, then what a group has besides:
zero points (uint8) or minima (float16).  Where a whole row shares a scale (float32) it follows all
blocks of K.
"""

from dataclasses import dataclass

from ingot.ir import Offset

LANES = 16
"""Outputs of a block."""
GROUP = 32
"""Elements of K that share a scale of rounded activations."""

_HALF = 2


@dataclass(frozen=True)
class IntegerLayout:
    """`bits` a code; `group` elements of K share a scale (0: a whole row); `span` of K a block.

    A group of 32 of K has 4 lines of nibbles, or 8 of bytes (code + 128).
    """

    bits: int
    group: int
    span: int
    offset: Offset

    @property
    def scaled_groups(self) -> int:
        """Groups with a scale of their own, in a block."""
        return self.span // self.group if self.group else 0

    @property
    def group_bytes(self) -> int:
        """Bytes of the codes of 32 of K."""
        return LANES * GROUP * self.bits // 8

    @property
    def scales_at(self) -> int:
        """Where the scales begin, and so how many bytes the codes of a block take."""
        return self.span // GROUP * self.group_bytes

    @property
    def scale_bytes(self) -> int:
        """Bytes of the scales of one group."""
        return _HALF * LANES

    @property
    def offsets_at(self) -> int:
        """Where zero points or minima begin."""
        return self.scales_at + self.scaled_groups * self.scale_bytes

    @property
    def offset_bytes(self) -> int:
        """Bytes of the zero points or minima of one group."""
        return LANES * {Offset.ZERO_POINT: 1, Offset.MINIMUM: _HALF}.get(self.offset, 0)

    @property
    def block_bytes(self) -> int:
        """Bytes of a block."""
        return self.offsets_at + self.scaled_groups * self.offset_bytes

    @property
    def tail_bytes(self) -> int:
        """Bytes behind the blocks of K: one float32 scale an output."""
        return 0 if self.group else 4 * LANES

    @property
    def alignment(self) -> int:
        """The largest power of two, up to 64, at whose multiples all blocks begin."""
        return min(64, self.block_bytes & -self.block_bytes)

    @property
    def groups_per_scale(self) -> int:
        """Groups of 32 of K that share a scale of a block; 1 where a whole row does."""
        return max(self.group // GROUP, 1)
