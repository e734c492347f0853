"""The lowering of a step to programs, one for each stage."""

from collections.abc import Mapping, Sequence

from ingot.ir import (
    Mesh,
    Module,
    OpView,
    SelectRows,
    SendRecv,
    Value,
)
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array, ArrayType

from .context import Bound, Context, Inputs
from .matrix import ELEMENT
from .pools import PoolPlan, pool_plan
from .program import CacheShape, Options, StageProgram, StepShape, step_input_shapes
from .rolling import lower_segment
from .segments import Segment, segments_of
from .table import check_operations
from .weights import WeightPlan, key_of, packing_at, weight_operands, weights_of

Shape = tuple[int, ...]


def lower_step(
    module: Module, shape: StepShape, cache: CacheShape, options: Options
) -> tuple[StageProgram, ...]:
    """Lower the step of a module for one size of it: a program for each stage.

    Raises `UnsupportedError`, with the operation and its place in the model's source, for what this
    target cannot run.
    """
    check_operations(module)
    weights, pools = weights_of(module, options), pool_plan(module, options)
    segments = segments_of(module, options)
    programs: list[StageProgram] = []
    for stage in range(1 + max(segment.stage for segment in segments)):
        builder = _Stage(module, shape, cache, options, weights, pools, segments, stage)
        programs.append(builder.program(programs[-1].outgoing if programs else ()))
    return tuple(programs)


class _Stage:
    """The building of one stage's program."""

    def __init__(
        self,
        module: Module,
        shape: StepShape,
        cache: CacheShape,
        options: Options,
        weights: WeightPlan,
        pools: PoolPlan,
        segments: Sequence[Segment],
        stage: int,
    ) -> None:
        self._module, self._stage = module, stage
        self._shape, self._cache, self._options = shape, cache, options
        self._weights, self._pools = weights, pools
        self._segments = [one for one in segments if one.stage == stage]
        before = [one for one in segments if one.stage == stage - 1]
        self._incoming = [op for op in _operations(before) if isinstance(op, SendRecv)]
        self._sent = [op for op in _operations(self._segments) if isinstance(op, SendRecv)]
        self._selected = _selected(module)
        self._outgoing: tuple[Shape, ...] = ()
        # The devices of a stage run its program among themselves.
        axes = module.mesh.axes if module.mesh else ()
        self._mesh = Mesh(tuple(axis for axis in axes if axis[0] != "pp"))

    def program(self, incoming: tuple[Shape, ...]) -> StageProgram:
        """Return the program, which takes arrays of the shapes that the stage before gives."""
        text = hlo.build(self._arguments(incoming), self._body, self._mesh.devices)
        return StageProgram(self._stage, text, incoming, self._outgoing)

    def _arguments(self, incoming: Sequence[Shape]) -> list[ArrayType]:
        step: list[ArrayType] = [(s, "i32") for s in step_input_shapes(self._shape).values()]
        values: list[ArrayType] = [(sizes, "f32") for sizes in incoming]
        element = ELEMENT[self._cache.dtype]
        numbers = self._pools.of_stage(self._stage)
        pools: list[ArrayType] = [
            (self._pools.pools[n].shape(self._cache), element) for n in numbers
        ]
        parameters = [self._weights.parameters[n] for n in self._weights.of_stage(self._stage)]
        weights: list[ArrayType] = [(one.shape, ELEMENT[one.dtype]) for one in parameters]
        return [*step, *values, *pools, *weights]

    def _body(self, arguments: list[Array]) -> tuple[Sequence[Array], dict[int, int]]:
        rest = iter(enumerate(arguments))
        inputs = Inputs(*(next(rest)[1] for _ in step_input_shapes(self._shape)))
        values = {op.out: next(rest)[1] for op in self._incoming}
        places, arrays = {}, {}
        for number in self._pools.of_stage(self._stage):
            places[number], arrays[number] = next(rest)
        given = {number: next(rest)[1] for number in self._weights.of_stage(self._stage)}
        context = Context(
            shape=self._shape,
            cache=self._cache,
            options=self._options,
            mesh=self._mesh,
            inputs=inputs,
            pools=self._pools,
            arrays=arrays,
            weights={},
            values=values,
            selected=self._selected,
        )
        tokens, positions, _ = self._module.step.entry_block.arguments
        context.values |= {tokens: inputs.token_ids, positions: inputs.positions}
        for segment in self._segments:
            self._bind_weights(context, segment, given)
            lower_segment(context, segment)
        results = [context.values[value] for value in self._results()]
        self._outgoing = tuple(one.shape for one in results)
        donated = {places[n]: len(results) + i for i, n in enumerate(arrays)}
        return [*results, *context.arrays.values()], donated

    def _bind_weights(self, context: Context, segment: Segment, given: Mapping[int, Array]) -> None:
        for operations in zip(*segment.repeats, strict=True):
            for values in weight_operands(operations):
                packing = packing_at(operations[0], values[0], self._options)
                key = key_of(segment.stage, packing, values)
                places = self._weights.places[key]
                arrays = {name: given[number] for name, number in places.items()}
                context.weights[values[0], packing] = Bound(arrays, len(key[2]) > 1)

    def _results(self) -> list[Value]:
        """Return what goes to the next stage, or what the step returns."""
        if self._sent:
            return [op.x for op in self._sent]
        *_, last = self._module.step.entry_block.operations
        return list(last.operands)


def _operations(segments: Sequence[Segment]) -> list[OpView]:
    return [op for segment in segments for repeat in segment.repeats for op in repeat]


def _selected(module: Module) -> set[Value]:
    """Return the values whose rows are those that want logits, not the step's tokens."""
    found: set[Value] = set()
    for operation in module.step.entry_block.operations:
        after = any(value in found for value in operation.operands)
        if after or isinstance(operation, SelectRows):
            found.update(operation.results)
    return found
