"""How the elements of a quantised tensor are stored: the table of encodings, as a value."""

import re
from dataclasses import dataclass
from enum import Enum

GROUP_SIZES = (32, 64, 128)
ACTIVATION_GROUP = 32


class Offset(Enum):
    """What is known of a group besides its scale."""

    NONE = "none"
    """Nothing: value = scale x code, codes are signed."""
    MIDDLE = "middle"
    """The zero point is the middle code: value = scale x (code - 8)."""
    ZERO_POINT = "zero point"
    """An integer zero point a group, uint8: value = scale x (code - zero)."""
    MINIMUM = "minimum"
    """A float16 minimum a group: value = scale x code + minimum."""


@dataclass(frozen=True)
class Encoding:
    """One way to store a tensor in few bits; `str` gives the name that the IR shows.

    `group` is the number of elements along the last dimension (K) that share a scale, 0 for a whole
    row; `scale_bits` is 16 (float16) or 32 (float32).
    """

    bits: int
    group: int
    scale_bits: int
    offset: Offset = Offset.NONE
    activation: bool = False

    @classmethod
    def parse(cls, name: str) -> "Encoding":
        """Return the encoding of that name; raises ValueError that lists what is known."""
        if name == "int8":
            return cls(8, 0, 32)
        if name == "int8-g32":
            return cls(8, 32, 16)
        if name == "int8-act":
            return cls(8, ACTIVATION_GROUP, 32, activation=True)
        match = re.fullmatch(r"int4-g(32|64|128)(-sym|-min)?", name)
        if match is None or (name.endswith("-min") and match[1] != "32"):
            raise ValueError(f"unknown encoding {name!r}; known are {', '.join(known_encodings())}")
        offset = {None: Offset.ZERO_POINT, "-sym": Offset.MIDDLE, "-min": Offset.MINIMUM}[match[2]]
        return cls(4, int(match[1]), 16, offset)

    def __str__(self) -> str:
        if self.activation:
            return "int8-act"
        group = f"-g{self.group}" if self.group else ""
        suffix = {Offset.MIDDLE: "-sym", Offset.MINIMUM: "-min"}.get(self.offset, "")
        return f"int{self.bits}{group}{suffix}"

    @property
    def bits_per_weight(self) -> float:
        """Bits an element takes, its share of scale and offset included; a row's scale is not."""
        if not self.group:
            return float(self.bits)
        offset_bits = {Offset.ZERO_POINT: 8, Offset.MINIMUM: 16}.get(self.offset, 0)
        return self.bits + (self.scale_bits + offset_bits) / self.group

    def group_size(self, columns: int) -> int:
        """Return how many elements of a row of `columns` elements share a scale."""
        return self.group or columns

    def groups(self, columns: int) -> int:
        """Return the number of groups of a row; the last one may be short."""
        return -(-columns // self.group_size(columns))


def known_encodings() -> list[str]:
    """Return the names of all encodings, those of weights first."""
    four_bits = [f"int4-g{group}{kind}" for kind in ("", "-sym") for group in GROUP_SIZES]
    return [*four_bits, "int4-g32-min", "int8", "int8-g32", "int8-act"]


ACTIVATION = Encoding.parse("int8-act")
"""The encoding of activations rounded for integer kernels."""
