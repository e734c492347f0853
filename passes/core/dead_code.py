"""Removes ops whose results nobody uses."""

from ingot.ir import Block, Op, OpView, Value

_NO_EFFECT = (
    "torch.aten.",
    "torch.prim.",
    "torch.prims.",
    "torch.constant.",
    "torch.vtensor.literal",
    "torch.operator",
)


def has_uses(value: Value) -> bool:
    """Return whether any op has `value` as an operand."""
    return next(iter(value.uses), None) is not None


def is_used(op: OpView) -> bool:
    """Return whether any result of `op` is an operand of another op."""
    return any(has_uses(result) for result in op.operation.results)


def is_pure(op: OpView) -> bool:
    """Return whether `op` does nothing but compute its results.

    torch.export leaves no torch op that writes to its operands, so torch ops with results are pure.
    """
    if isinstance(op, Op):
        return op.pure
    name: str = op.operation.name
    return name.startswith(_NO_EFFECT) and bool(op.operation.results)


def erase_dead(block: Block) -> None:
    """Erase every pure op of `block` whose results are unused, users before producers."""
    for op in reversed(list(block.operations)):
        if is_pure(op) and not is_used(op):
            op.operation.erase()
