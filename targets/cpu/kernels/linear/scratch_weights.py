"""Groups of weights unpacked to a thread's scratch, where many rows read them again."""

from dataclasses import dataclass, replace
from typing import Any

from ingot.targets.cpu.build import F32, Pointer
from ingot.targets.cpu.packing import LANES

from .integer_weights import BYTES, QUADS, GroupWeights

_VECTOR = 64
_FLOATS = F32.x(LANES)
_OPTIONAL = ("scale", "magic_scale", "zero", "minimum")


@dataclass(frozen=True, eq=False)
class ScratchFormat:
    """What is kept of a group: its 8 vectors of bytes and the float vectors that `example` has."""

    example: GroupWeights

    @property
    def fields(self) -> list[str]:
        """The names of the float vectors, in the order in which they are stored."""
        return [name for name in _OPTIONAL if getattr(self.example, name) is not None]

    @property
    def entry_bytes(self) -> int:
        """Bytes of one group."""
        return _VECTOR * (QUADS + len(self.fields))

    def save(self, weights: GroupWeights, at: Pointer) -> None:
        """Store a group."""
        values = [*weights.quads, *(getattr(weights, name) for name in self.fields)]
        for i, value in enumerate(values):
            at.store(value, _VECTOR * i, align=_VECTOR)

    def restore(self, at: Pointer) -> GroupWeights:
        """Load a group again."""
        quads = tuple(at.load(BYTES, _VECTOR * i, align=_VECTOR) for i in range(QUADS))
        floats: dict[str, Any] = {
            name: at.load(_FLOATS, _VECTOR * (QUADS + i), align=_VECTOR)
            for i, name in enumerate(self.fields)
        }
        return replace(self.example, quads=quads, **floats)
