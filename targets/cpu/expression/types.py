"""Element and vector types of kernel values, independent of any MLIR context."""

from dataclasses import dataclass
from typing import Any

from ingot.ir import ir


@dataclass(frozen=True)
class Type:
    """A scalar (`lanes` 0) or a vector of `lanes` elements; independent of any MLIR context."""

    element: str
    lanes: int = 0

    def x(self, lanes: int) -> "Type":
        """Return the vector type with `lanes` elements of this type (0: the scalar)."""
        return Type(self.element, lanes)

    @property
    def scalar(self) -> "Type":
        """The element type."""
        return Type(self.element)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return "f" in self.element

    @property
    def bits(self) -> int:
        """Width of one element."""
        return int(self.element.lstrip("bif"))

    @property
    def size(self) -> int:
        """Bytes that a value of this type takes in memory."""
        return self.bits * max(self.lanes, 1) // 8

    def mlir(self) -> Any:
        """Return the type in the current MLIR context."""
        text = self.element if not self.lanes else f"vector<{self.lanes}x{self.element}>"
        return ir.Type.parse(text)


I1, I8, I16, I32, I64 = (Type(name) for name in ("i1", "i8", "i16", "i32", "i64"))
F16, BF16, F32 = (Type(name) for name in ("f16", "bf16", "f32"))
