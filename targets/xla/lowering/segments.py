"""The operations of a step in segments: stretches that differ, and runs of layers that are alike.

Layers are alike by structure, never by name: operations of the same kinds and attributes (but for
`layer`), in the same order, on operands that lie as far back, on weights of equal types.  What the
first and the last layer have of their own stays outside of a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.ir import Module, OpView, SendRecv, is_weight_expression, stages_of

from .program import Options
from .runs import Result, Run, longest_run


@dataclass(frozen=True)
class Segment:
    """Operations of one stage, in order: `repeats` holds those of each of the layers alike.

    A segment of one repeat is lowered as it is, others become a loop; `carried` are the results
    that one hands to the next, by the number of an operation in its repeat and that of its result.
    """

    stage: int
    repeats: tuple[tuple[OpView, ...], ...]
    carried: tuple[Result, ...] = ()

    @property
    def operations(self) -> tuple[OpView, ...]:
        """Those of the first repeat, which stand for the others."""
        return self.repeats[0]


def segments_of(module: Module, options: Options) -> tuple[Segment, ...]:
    """Return all operations of the step but weight expressions and the return, in segments."""
    *_, last = module.step.entry_block.operations
    segments: list[Segment] = []
    for stage, operations in enumerate(operations_by_stage(module)):
        found = _divided(operations, set(last.operands)) if options.roll else [operations]
        for one in found:
            if isinstance(one, Run):
                segments.append(Segment(stage, one.repeats(operations), one.carried))
            else:
                segments.append(Segment(stage, (tuple(one),)))
    return tuple(segments)


def operations_by_stage(module: Module) -> list[list[OpView]]:
    """Return the operations that a device of each stage runs, in order.

    A stage's list ends with the `lm.send_recv` that lead to the next one.
    """
    stages = stages_of(module)
    found: list[list[OpView]] = [[] for _ in range(max(stages.values(), default=0) + 1)]
    *operations, _ = module.step.entry_block.operations
    for operation in operations:
        if not all(is_weight_expression(value) for value in operation.results):
            sender = isinstance(operation, SendRecv)
            found[stages[operation] - sender].append(operation)
    return found


def _divided(operations: Sequence[OpView], results: set[object]) -> list[Run | Sequence[OpView]]:
    """Return the runs among operations and what lies between them; the largest runs go first."""
    pieces: list[Run | Sequence[OpView]] = []
    open_ranges = [(0, len(operations))]
    runs: list[Run] = []
    while open_ranges:
        start, end = open_ranges.pop()
        run = longest_run(operations, start, end, results)
        if run is not None:
            runs.append(run)
            open_ranges += [(start, run.start), (run.end, end)]
    at = 0
    for run in sorted(runs, key=lambda one: one.start):
        pieces += [operations[at : run.start], run] if run.start > at else [run]
        at = run.end
    return [*pieces, operations[at:]] if at < len(operations) else pieces
