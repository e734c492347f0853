"""Takes operations apart for targets that have no lowering for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import (
    FromTorch,
    Module,
    Op,
    Round,
    ToTorch,
    Value,
    activation_type,
    before,
    columns_of,
    is_rounded,
    is_weight_expression,
)

from .bridging.traced import as_torch_ops
from .core import EXACT, Contract, Pass, erase_dead, ops_of, option, replace, step_block
from .outline import Outline

MOST_ROUNDS = 100


@dataclass(frozen=True)
class Decompose(Pass):
    """Take composite operations apart; others of `torch` become the torch ops of their reference.

    A composite operation is one that has a decomposition.
    """

    contract: ClassVar[Contract] = EXACT

    torch: tuple[str, ...] = option((), help="operations to make torch ops of, as in glu;softcap")

    def run(self, module: Module) -> None:
        named = {f"lm.{name.removeprefix('lm.')}" for name in self.torch}
        _take_apart(module, lambda op: True, by_torch=lambda op: op.OPERATION_NAME in named)


def decompose_composites(module: Module, is_known: Callable[[Op], bool]) -> bool:
    """Take apart every composite operation that is not known; return whether there was any.

    Others that are not known stay: this is for targets that cannot compile remainders of torch.
    """
    return _take_apart(module, lambda op: not is_known(op), by_torch=lambda op: False)


def decompose_unknown(module: Module, is_known: Callable[[Op], bool]) -> bool:
    """Take apart every operation that is not known, until none is left; return whether any was.

    By its decomposition, or by its reference, which then is a remainder of torch ops.  Raises
    UnsupportedError, with the place in the model, for one that has neither.
    """
    return _take_apart(module, lambda op: not is_known(op), by_torch=lambda op: True)


def _take_apart(
    module: Module, wanted: Callable[[Op], bool], *, by_torch: Callable[[Op], bool]
) -> bool:
    """Replace what is wanted by its decomposition, else by torch ops where `by_torch` says so."""
    changed = False
    for _ in range(MOST_ROUNDS):
        found = [op for op in _operations(module) if wanted(op)]
        replaced = [op for op in found if _replaced(op, by_torch=by_torch(op))]
        if not replaced:
            break
        changed = True
        for op in replaced:
            op.operation.erase()
        erase_dead(step_block(module))
    else:
        raise AssertionError(f"decompositions do not end after {MOST_ROUNDS} rounds")
    if changed:
        Outline().run(module)
    return changed


def _operations(module: Module) -> list[Op]:
    """Return the operations of the step but bridges and those evaluated with the weights."""
    return [
        op
        for op in ops_of(step_block(module))
        if isinstance(op, Op)
        and not isinstance(op, ToTorch | FromTorch)
        and not all(map(is_weight_expression, op.results))
    ]


def _replaced(op: Op, *, by_torch: bool) -> bool:
    """Replace `op` by what it decomposes to; return whether there was anything."""
    with before(op):
        parts = op.decompose()
    if parts is None and not by_torch:
        return False
    if parts is None and op.operation.results and is_rounded(op.operation.results[-1]):
        _round_apart(op)
    with before(op):
        values = as_torch_ops(op) if parts is None else parts
    replace(op, *(values if isinstance(values, tuple) else (values,)))
    return True


def _round_apart(op: Op) -> None:
    """Let a separate operation round the last result of `op`."""
    result: Value = op.operation.results[-1]
    readers = [(use.owner, use.operand_number) for use in result.uses]
    result.set_type(activation_type(columns_of(result), op.context))
    reader = min((r for r, _ in readers), key=_place)
    with before(reader):
        rounded = Round(result).out
    for owner, index in readers:
        owner.operation.operands[index] = rounded


def _place(op: Op) -> int:
    return [one.operation for one in op.operation.block.operations].index(op.operation)
