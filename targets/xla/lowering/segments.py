"""The operations of a step in segments: single ones, and runs of layers that are alike."""

from dataclasses import dataclass

from ingot.ir import Module, OpView, SendRecv, is_weight_expression, stages_of

from .program import Options


@dataclass(frozen=True)
class Segment:
    """Operations of one stage, in order: `repeats` holds those of each of the layers alike.

    A segment of one repeat is lowered as it is, others become a loop.
    """

    stage: int
    repeats: tuple[tuple[OpView, ...], ...]

    @property
    def operations(self) -> tuple[OpView, ...]:
        """Those of the first repeat, which stand for the others."""
        return self.repeats[0]


def segments_of(module: Module, options: Options) -> tuple[Segment, ...]:
    """Return all operations of the step but weight expressions and the return, in segments."""
    return tuple(
        Segment(stage, (tuple(operations),))
        for stage, operations in enumerate(operations_by_stage(module))
    )


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
