"""How a value is divided over the devices of a mesh, as a value and as an attribute's text.

The attribute `lm.sharding` lives only between the passes that choose shardings and the one that
writes the program of a device.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .mesh import Mesh
from .mlir import OpView, StringAttr

SHARDING = "lm.sharding"


@dataclass(frozen=True)
class Part:
    """A dimension in `parts` equal parts along `axis`.

    With fewer parts than devices each part lies on size / parts neighbouring devices: coordinate c
    holds part c // (size // parts).  With `blocks` above 1 the dimension is that many equal blocks,
    each cut in `parts`; a device holds its part of every block, one after the other.
    """

    axis: str
    parts: int
    blocks: int = 1

    def text(self, mesh: Mesh | None = None) -> str:
        """Return `tp:4`, or `tp` where the mesh has as many devices; `tp:4/3` with 3 blocks."""
        whole = mesh is not None and mesh.size(self.axis) == self.parts
        blocks = f"/{self.blocks}" if self.blocks > 1 else ""
        return f"{self.axis}{'' if whole else f':{self.parts}'}{blocks}"

    @classmethod
    def parse(cls, text: str, mesh: Mesh | None = None) -> "Part":
        """Read what `text` writes; raises ValueError, also for `tp` without a mesh."""
        match = re.fullmatch(r"([a-z]+)(?::([0-9]+))?(?:/([0-9]+))?", text.strip())
        if match is None or (match[2] is None and mesh is None):
            raise ValueError(f"cannot read the part {text!r} of a sharding")
        parts = int(match[2]) if match[2] or mesh is None else mesh.size(match[1])
        return cls(match[1], parts, int(match[3] or 1))


@dataclass(frozen=True)
class Sharding:
    """How each dimension of a value is divided: `dims[d]` are the parts of dimension d.

    `partial` are the axes along which the devices hold terms of a sum that is still to be made.
    """

    dims: tuple[tuple[Part, ...], ...]
    partial: tuple[str, ...] = ()

    @classmethod
    def replicated(cls, rank: int) -> "Sharding":
        """Return the sharding of a value of `rank` dimensions that every device has whole."""
        return cls(((),) * rank)

    @classmethod
    def along(cls, rank: int, dim: int, part: Part) -> "Sharding":
        """Return that of a value of `rank` dimensions whose dimension `dim` alone is divided."""
        return cls(tuple((part,) if index == dim else () for index in range(rank)))

    @property
    def is_replicated(self) -> bool:
        """Whether every device has all of the value."""
        return not self.partial and not any(part.parts > 1 for dim in self.dims for part in dim)

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes along which devices have different values, each once."""
        divided = [part.axis for dim in self.dims for part in dim if part.parts > 1]
        return tuple(dict.fromkeys([*divided, *self.partial]))

    def text(self, mesh: Mesh | None = None) -> str:
        """Return `[tp, -]` or `[-, -] sum tp`; sizes of parts as in `Part.text`."""
        dims = ["+".join(part.text(mesh) for part in dim) or "-" for dim in self.dims]
        partial = f" sum {','.join(self.partial)}" if self.partial else ""
        return f"[{', '.join(dims)}]{partial}"

    def __str__(self) -> str:
        return self.text()

    @classmethod
    def parse(cls, text: str, mesh: Mesh | None = None) -> "Sharding":
        """Read what `text` writes; raises ValueError, also for `[tp]` without a mesh."""
        match = re.fullmatch(r"\[([^\]]*)\](?: sum ([a-z,]+))?", text.strip())
        if match is None:
            raise ValueError(f"cannot read the sharding {text!r}")
        texts = match[1].split(",") if match[1].strip() else []
        partial = tuple(match[2].split(",")) if match[2] else ()
        return cls(tuple(_parts(one.strip(), mesh) for one in texts), partial)


def _parts(text: str, mesh: Mesh | None) -> tuple[Part, ...]:
    return () if text == "-" else tuple(Part.parse(one, mesh) for one in text.split("+"))


def shardings_of(op: OpView, mesh: Mesh | None = None) -> tuple[Sharding, ...] | None:
    """Return the shardings of the results of `op`, None where it has no such attribute."""
    if SHARDING not in op.attributes:
        return None
    text = str(op.attributes[SHARDING].value)
    return tuple(Sharding.parse(one, mesh) for one in text.split(";"))


def set_shardings(op: OpView, shardings: Sequence[Sharding], mesh: Mesh | None = None) -> None:
    """Write the shardings of the results of `op`, one each."""
    assert len(shardings) == len(op.results), f"{len(shardings)} shardings of {op}"
    text = "; ".join(sharding.text(mesh) for sharding in shardings)
    op.attributes[SHARDING] = StringAttr.get(text, op.context)


def clear_shardings(op: OpView) -> None:
    """Remove the attribute, if there is one."""
    if SHARDING in op.attributes:
        del op.attributes[SHARDING]
