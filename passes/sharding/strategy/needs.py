"""What must divide for a mesh to fit a model, and the error that says what does not."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ingot.errors import UsageError
from ingot.ir import Mesh, Op, source_of

LARGEST = 64
"""The largest size of an axis that an error proposes."""


@dataclass(frozen=True)
class Need:
    """One number of the model that devices along an axis divide among each other."""

    axis: str
    text: str
    place: str
    fits: Callable[[int], bool]


@dataclass
class Needs:
    """All that a mesh must divide."""

    mesh: Mesh
    found: list[Need] = field(default_factory=list)

    def add(self, op: Op, axis: str, text: str, fits: Callable[[int], bool]) -> None:
        """Require that `fits` holds of the devices along `axis`; `text` names what is divided."""
        module = source_of(op.location).module
        place = f"{module} ({op.OPERATION_NAME})" if module else str(op.OPERATION_NAME)
        self.found.append(Need(axis, text, place, fits))

    def check(self) -> None:
        """Raise UsageError for the first number that does not divide, and name sizes that do."""
        for need in self.found:
            size = self.mesh.size(need.axis)
            if need.fits(size):
                continue
            raise UsageError(
                f"cannot divide {need.text} among {size} devices along {need.axis}",
                where=f"mesh {self.mesh}, {need.place}",
                hint=self._hint(need.axis),
            )

    def _hint(self, axis: str) -> str:
        needs = [need for need in self.found if need.axis == axis]
        sizes = [n for n in range(2, LARGEST + 1) if all(need.fits(n) for need in needs)]
        if not sizes:
            return f"No size of {axis} divides this model: leave {axis} out of the mesh."
        return f"Sizes of {axis} that divide this model: {', '.join(map(str, sizes))}."
