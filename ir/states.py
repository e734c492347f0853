"""What sequences of a module carry from token to token, besides keys and values."""

from ingot.ir.interpreter.torch_states import STATE_OPERATORS

from .mlir import OpView
from .module import Module
from .operation import Op


def carries_state(module: Module) -> bool:
    """Return whether any operation, raised or not, carries a state of fixed size."""
    return any(map(_carries, module.step.entry_block.operations))


def _carries(op: OpView) -> bool:
    if isinstance(op, Op):
        return bool(op.states())
    is_operator = op.operation.name == "torch.operator"
    return is_operator and op.attributes["name"].value.removeprefix("torch.") in STATE_OPERATORS
