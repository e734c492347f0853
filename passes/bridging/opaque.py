"""Reads the opaque operators that the front end leaves where tokens mix."""

from ingot.ir import BatchType, OpView, Value


def is_opaque(op: OpView, name: str) -> bool:
    """Return whether `op` is the opaque operator `ingot.NAME`."""
    found: str = op.operation.attributes["name"].value
    return found == f"torch.ingot.{name}"


def batch_of(op: OpView) -> Value | None:
    """Return the argument of the step that stands for its batch; None in other functions."""
    arguments = op.operation.block.arguments
    return next((one for one in arguments if isinstance(one.type, BatchType)), None)
