"""How the elements of a quantised tensor are stored: the table of encodings, as a value.

Other distributions add encodings of weights by the entry-point group `ingot.encodings`: each entry
point is named like its encoding and leads to a `CustomEncoding`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.metadata import EntryPoint

from torch import Tensor

from ingot.extensions import Group, Owner

GROUP_SIZES = (32, 64, 128)
ACTIVATION_GROUP = 32
_ACTIVATIONS = ("int8-act", "int8-row", "bf16-act")


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
        """Return the encoding of that name; raises ValueError that lists what is known.

        Raises ExtensionError where the distribution that owns the name cannot be imported.
        """
        if name == "int8":
            return cls(8, 0, 32)
        if name == "int8-g32":
            return cls(8, 32, 16)
        if name == "int8-act":
            return cls(8, ACTIVATION_GROUP, 32, activation=True)
        if name == "int8-row":
            return cls(8, 0, 32, activation=True)
        if name == "bf16-act":
            return cls(16, 0, 32, activation=True)
        match = re.fullmatch(r"int4-g(32|64|128)(-sym|-min)?", name)
        if match is None or (name.endswith("-min") and match[1] != "32"):
            found = custom_encoding(name)
            if found is None:
                known = ", ".join(known_encodings())
                raise ValueError(f"unknown encoding {name!r}; known are {known}")
            return found
        offset = {None: Offset.ZERO_POINT, "-sym": Offset.MIDDLE, "-min": Offset.MINIMUM}[match[2]]
        return cls(4, int(match[1]), 16, offset)

    def __str__(self) -> str:
        if self.activation:
            integers = "int8-act" if self.group else "int8-row"
            return integers if self.is_integer else "bf16-act"
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

    @property
    def is_integer(self) -> bool:
        """Whether codes are integers, and not bfloat16 numbers with a scale of 1."""
        return self.bits < 16

    @property
    def rounds_activations(self) -> bool:
        """Whether linears with such a weight read activations rounded to `int8-act`."""
        return True

    def group_size(self, columns: int) -> int:
        """Return how many elements of a row of `columns` elements share a scale."""
        return self.group or columns

    def groups(self, columns: int) -> int:
        """Return the number of groups of a row; the last one may be short."""
        return -(-columns // self.group_size(columns))


@dataclass(frozen=True)
class CustomEncoding(Encoding, ABC):
    """An encoding of another distribution: a name, and how groups become codes and back.

        @dataclass(frozen=True)
        class Ternary(CustomEncoding):
            def encode(self, groups): ...
            def decode(self, codes, scales, offsets): ...

        TERNARY = Ternary(bits=2, group=64, scale_bits=16, name="acme-ternary")

    Linears on it read float activations.  A target without a packing for it holds such weights as
    the floats that they decode to.
    """

    name: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def rounds_activations(self) -> bool:
        """Linears read float activations."""
        return False

    @abstractmethod
    def encode(self, groups: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the codes, scales and offsets of float32 `groups` `[groups, group size]`.

        Codes are uint8 or int8 of the same shape; scales `[groups]` float16 or float32 as
        `scale_bits` says; offsets `[groups]` of any type, or None.  The last group of a row may be
        short, and then comes alone.
        """

    @abstractmethod
    def decode(self, codes: Tensor, scales: Tensor, offsets: Tensor | None) -> Tensor:
        """Return the values of `codes` `[..., groups, group size]`, in the type of `scales`.

        `scales` and `offsets` are `[..., groups, 1]`, in the float type that is wanted.
        """


GROUP = Group("ingot.encodings", "encoding", "encodings")


def custom_encoding(name: str, extensions: Iterable[EntryPoint] | None = None) -> Encoding | None:
    """Return the encoding of another distribution called `name`, None if nobody owns the name.

    `extensions` stands for the installed entry points; a test gives its own.
    """
    owner = _owners(extensions).get(name)
    if owner is None:
        return None
    found = owner.load()
    assert isinstance(found, Encoding)
    return found


def known_encodings() -> list[str]:
    """Return the names of all encodings: ours, those of weights first, then other distributions'.

    What cannot be loaded is logged and left out.
    """
    return [*_own_encodings(), *_installed()]


@cache
def _installed() -> tuple[str, ...]:
    own = _own_encodings()
    theirs = {name: owner for name, owner in _owners(None).items() if name not in own}
    return tuple(GROUP.loadable(theirs))


@cache
def _own_encodings() -> tuple[str, ...]:
    four_bits = [f"int4-g{group}{kind}" for kind in ("", "-sym") for group in GROUP_SIZES]
    return (*four_bits, "int4-g32-min", "int8", "int8-g32", *_ACTIVATIONS)


def _owners(extensions: Iterable[EntryPoint] | None) -> dict[str, Owner]:
    own = {name: Owner(name, "ir/encoding.py", lambda: None) for name in _own_encodings()}
    return GROUP.owners(own, _accept, extensions)


def _accept(owner: Owner, found: object) -> object:
    if not isinstance(found, CustomEncoding) or found.name != owner.name:
        raise GROUP.refuse(owner, found, f"an ingot.ir.CustomEncoding called {owner.name}")
    return found


ACTIVATION = Encoding.parse("int8-act")
"""The encoding of activations rounded for integer kernels."""
ROW_ACTIVATION = Encoding.parse("int8-row")
"""The same with one scale for a whole row, for units that multiply whole rows of integers."""
BF16_ACTIVATION = Encoding.parse("bf16-act")
"""Activations rounded to bfloat16, for kernels that multiply pairs of such numbers."""
