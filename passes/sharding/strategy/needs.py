"""What must divide for a mesh to fit a model, and the error that says what does not."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ingot.errors import UsageError
from ingot.ir import GROUP_SIZES, Mesh, Op, Part, Value, encoding_of, shape_of, source_of
from ingot.passes.sharding.weights import can_cut

LARGEST = 64
"""The largest size of an axis that an error proposes."""


@dataclass(frozen=True)
class Need:
    """One number of the model that devices along an axis divide among each other."""

    axis: str
    text: str
    place: str
    fits: Callable[[int], bool]
    advice: str = ""
    """What else may help, beside another size."""


@dataclass
class Needs:
    """All that a mesh must divide."""

    mesh: Mesh
    found: list[Need] = field(default_factory=list)

    def add(
        self, op: Op, axis: str, text: str, fits: Callable[[int], bool], advice: str = ""
    ) -> None:
        """Require that `fits` holds of the devices along `axis`; `text` names what is divided."""
        module = source_of(op.location).module
        place = f"{module} ({op.OPERATION_NAME})" if module else str(op.OPERATION_NAME)
        self.found.append(Need(axis, text, place, fits, advice))

    def check(self) -> None:
        """Raise UsageError for the first number that does not divide, and name sizes that do."""
        for need in self.found:
            size = self.mesh.size(need.axis)
            if need.fits(size):
                continue
            raise UsageError(
                f"cannot divide {need.text} among {size} devices along {need.axis}",
                where=f"mesh {self.mesh}, {need.place}",
                hint=f"{self._hint(need.axis)} {need.advice}".strip(),
            )

    def _hint(self, axis: str) -> str:
        needs = [need for need in self.found if need.axis == axis]
        sizes = [n for n in range(2, LARGEST + 1) if all(need.fits(n) for need in needs)]
        if not sizes:
            return f"No size of {axis} divides this model: leave {axis} out of the mesh."
        return f"Sizes of {axis} that divide this model: {', '.join(map(str, sizes))}."


def add_inputs(needs: Needs, op: Op, axis: str, text: str, w: Value) -> None:
    """Require that the inputs of a weight `[N, K]` divide, and that parts are whole groups."""
    encoding = encoding_of(w)
    stored = f", stored as {encoding}," if encoding is not None else ""
    finer = encoding is not None and encoding.group > GROUP_SIZES[0]
    needs.add(
        op,
        axis,
        f"{shape_of(w)[1]} {text}{stored}",
        lambda size: can_cut(w, 1, Part(axis, size)),
        f"An encoding in groups of {GROUP_SIZES[0]} divides more finely." if finer else "",
    )
