"""The stages of a pipeline: which operations the devices at each place along `pp` run."""

from ingot.ir import IntegerAttr, OpView, Type

STAGE = "lm.stage"
"""The attribute of an operation, between the passes, that says which stage it belongs to."""


def stage_of(op: OpView) -> int:
    """Return the stage that was chosen for `op`: 0 where none was."""
    attributes = op.operation.attributes
    return int(attributes[STAGE].value) if STAGE in attributes else 0


def set_stage(op: OpView, stage: int) -> None:
    """Say that `op` belongs to a stage."""
    kind = Type.parse("i64", op.operation.context)
    op.operation.attributes[STAGE] = IntegerAttr.get(kind, stage)


def clear_stages(op: OpView) -> None:
    """Remove the attribute, if there is one."""
    if STAGE in op.operation.attributes:
        del op.operation.attributes[STAGE]
