"""The state of lowering one stage of a step: what its values are so far, and what they read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from ingot.ir import Mesh, OpView, Value, encoding_of, shape_of
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

from .matrix import ELEMENT, Matrix
from .pools import PoolPlan
from .program import CacheShape, Options, StepShape
from .rounding import rounded
from .weights import VECTOR, packing_at


@dataclass(frozen=True)
class Inputs:
    """The step's inputs, as `STEP_INPUTS` says."""

    token_ids: Array
    positions: Array
    sequence_ids: Array
    slots: Array
    block_tables: Array
    starts: Array
    lengths: Array
    num_sequences: Array
    rows: Array


@dataclass(frozen=True)
class Bound:
    """The arrays of a weight by their names in its packing; `stacked`: of a run of layers."""

    arrays: Mapping[str, Array]
    stacked: bool


@dataclass
class Context:
    """What the lowering of one operation adds to, and looks up in.

    `weights` are the arrays of a weight by the value and packing; `selected` are the values whose
    rows are those that want logits, not the step's tokens; `arrays` are the KV pools, by number,
    and `kept` the keys and values that are written to them.  In a loop over layers that are alike
    `repeat` is the number of the layer, an int32 scalar.
    """

    shape: StepShape
    cache: CacheShape
    options: Options
    mesh: Mesh
    inputs: Inputs
    pools: PoolPlan
    arrays: dict[int, Array]
    weights: dict[tuple[Value, str], Bound]
    values: dict[Value, Array]
    selected: set[Value] = field(default_factory=set)
    kept: set[tuple[Value, Value]] = field(default_factory=set)
    repeat: Array | None = None

    @property
    def factor(self) -> str:
        """The element type of the factors of products."""
        return ELEMENT[self.options.compute]

    def rows_of(self, value: Value) -> int:
        """Return how many rows a whole value has that belongs to the same tokens."""
        return self.shape.rows if value in self.selected else self.shape.tokens

    def vector(self, value: Value) -> Array:
        """Return a weight that is no matrix, float32."""
        bound = self.weights[value, VECTOR]
        array = bound.arrays[""]
        if not bound.stacked:
            return array
        assert self.repeat is not None
        shape = array.shape[1:]
        return hlo.window(array, [self.repeat, *[0] * len(shape)], [1, *shape]).reshape(*shape)

    def matrix(self, operation: OpView, value: Value) -> Matrix:
        """Return a matrix of weights that an operation reads."""
        packing = packing_at(operation, value, self.options)
        bound, (rows, columns) = self.weights[value, packing], shape_of(value)
        if not bound.stacked:
            return Matrix(bound.arrays, rows, columns, self.factor)
        # The matrices of all layers one after the other.
        assert self.repeat is not None
        flat = {name: _flat(array) for name, array in bound.arrays.items()}
        count = next(iter(bound.arrays.values())).shape[0]
        return Matrix(flat, rows, columns, self.factor, count, self.repeat)

    def set_result(self, value: Value, array: Array) -> None:
        """Give a result its array, rounded where its type says so."""
        encoding = encoding_of(value)
        self.values[value] = array if encoding is None else rounded(array, encoding)

    def groups(self, axis: str) -> hlo.Groups:
        """Return the sets of devices that differ in their place along an axis alone."""
        return self.mesh.groups(axis)

    def place(self, axis: str) -> Array:
        """Return this device's place along an axis, an int32 scalar."""
        names = [name for name, _ in self.mesh.axes]
        stride = prod(size for _, size in self.mesh.axes[names.index(axis) + 1 :])
        return (hlo.device_number() // stride) % self.mesh.size(axis)


def _flat(array: Array) -> Array:
    return array.reshape(-1, *array.shape[2:])
