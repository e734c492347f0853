"""Which weights a module's programs take: packed tensors, and parameters that are parts of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count, product

from ingot.ir import (
    Embedding,
    Experts,
    Linear,
    Mesh,
    Module,
    OpView,
    Value,
    axes_of,
    columns_of,
    is_weight_expression,
    part_coordinates,
    shape_of,
)
from ingot.targets.base import PackedWeight
from ingot.targets.expressions import expression_key, expression_name
from ingot.targets.xla.parameters import packed_bytes, packing_of, parts_of

from .program import Options, Parameter
from .segments import Segment, segments_of

VECTOR = "float32"
"""The packing of everything but matrices."""

Key = tuple[int, str, tuple[str, ...]]
"""What tells parameters apart: stage, packing, and an expression for each stacked array."""


@dataclass
class WeightPlan:
    """The tensors to pack, and the parameters in the order in which programs take those of a stage.

    `places` are the numbers of the parameters that hold a tensor.
    """

    packed: tuple[PackedWeight, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    places: dict[Key, dict[str, int]] = field(default_factory=dict)

    def of_stage(self, stage: int) -> list[int]:
        """Return the numbers of the parameters of a stage's programs."""
        return [n for n, one in enumerate(self.parameters) if one.stage == stage]


def weights_of(module: Module, options: Options) -> WeightPlan:
    """Return what to pack for a module, and how its programs take it, whatever the step's size."""
    planner = _Planner(module.mesh or Mesh(()), options)
    for segment in segments_of(module, options):
        for operations in zip(*segment.repeats, strict=True):
            for values in weight_operands(operations):
                planner.add(segment, values, packing_at(operations[0], values[0], options))
    return WeightPlan(tuple(planner.packed.values()), tuple(planner.parameters), planner.places)


def weight_operands(operations: Sequence[OpView]) -> Iterator[tuple[Value, ...]]:
    """Yield the weights that operations at one place of repeated layers read, one for each."""
    for values in zip(*(one.operands for one in operations), strict=True):
        if is_weight_expression(values[0]):
            yield values


def packing_at(operation: OpView, value: Value, options: Options) -> str:
    """Return the packing in which an operation reads one of its weights."""
    if value not in _matrices(operation):
        return VECTOR
    blocks = operation.experts if isinstance(operation, Experts) else 1
    table = isinstance(operation, Embedding)
    return packing_of(value, options.compute, table=table, blocks=blocks)


def key_of(stage: int, packing: str, values: Sequence[Value]) -> Key:
    """Return what tells a parameter from others: equal expressions are held once."""
    keys = tuple(expression_key(value) for value in values)
    return stage, packing, keys[:1] if len(set(keys)) == 1 else keys


def _matrices(operation: OpView) -> tuple[Value, ...]:
    if isinstance(operation, Linear):
        return (operation.w,)
    if isinstance(operation, Embedding):
        return (operation.table,)
    return (operation.up, operation.down) if isinstance(operation, Experts) else ()


def _share(operation: OpView, value: Value) -> float:
    """Return the share of a weight that one token reads."""
    if isinstance(operation, Embedding):
        return 1 / shape_of(value)[0]
    if isinstance(operation, Experts) and value in _matrices(operation):
        return min(columns_of(operation.indices), operation.experts) / operation.experts
    return 1.0


class _Planner:
    """Weights and parameters so far; a tensor is packed once in a packing, and cut once."""

    def __init__(self, mesh: Mesh, options: Options) -> None:
        self._mesh, self._options = mesh, options
        self.packed: dict[str, PackedWeight] = {}
        self.parameters: list[Parameter] = []
        self.places: dict[Key, dict[str, int]] = {}
        self._names: dict[tuple[str, str], str] = {}

    def add(self, segment: Segment, values: Sequence[Value], packing: str) -> None:
        """Note that the operations of a segment read `values`, one for each repeat."""
        key = key_of(segment.stage, packing, values)
        held = values[: len(key[2])]
        rows = [self._pack(value, packing) for value in held]
        if key in self.places:
            return
        stacked, axes = len(held) > 1, axes_of(held[0])
        self.places[key] = {}
        for part, offset in parts_of(packing, held[0]):
            name = rows[0][0].partition("@")[0] + (f".{part.name}" if part.name else "")
            shape = (len(held), *part.shape) if stacked else part.shape
            self.places[key][part.name] = len(self.parameters)
            self.parameters.append(
                Parameter(
                    name=f"{name}.stacked" if stacked else name,
                    dtype=part.dtype,
                    shape=shape,
                    stage=segment.stage,
                    axes=axes,
                    weights=tuple(rows),
                    offset=offset,
                    stacked=stacked,
                )
            )

    def _pack(self, value: Value, packing: str) -> tuple[str, ...]:
        """Return the names of a tensor's parts, for each place along the axes that divide it."""
        base = self._base_name(value, packing)
        size = packed_bytes(packing, value)
        share = max(_share(use.owner, value) for use in value.uses)
        names = []
        for coordinates in _parts(value, self._mesh):
            place = ".".join(f"{axis}{at}" for axis, at in coordinates.items())
            name = f"{base}@{place}" if place else base
            made = PackedWeight(name, value, packing, size, int(size * share), coordinates)
            known = self.packed.get(name, made)
            most = max(known.step_bytes, made.step_bytes)
            self.packed[name] = replace(known, step_bytes=most)
            names.append(name)
        return tuple(names)

    def _base_name(self, value: Value, packing: str) -> str:
        """Return the expression's name, with the packing where another expression took it."""
        key = expression_key(value), packing
        if key not in self._names:
            name, taken = expression_name(value), set(self._names.values())
            others = (f"{name}:{packing}:{n}" for n in count(2))
            candidates = chain((name, f"{name}:{packing}"), others)
            self._names[key] = next(one for one in candidates if one not in taken)
        return self._names[key]


def _parts(value: Value, mesh: Mesh) -> Iterator[dict[str, int]]:
    """Yield for each place along the axes, the last fastest, the place that stands for its part."""
    axes = axes_of(value)
    for places in product(*(range(mesh.size(axis)) for axis in axes)):
        yield part_coordinates(value, dict(zip(axes, places, strict=True)))
