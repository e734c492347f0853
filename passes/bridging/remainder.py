"""Finds the connected remainders of torch ops in a block, each to become one function.

A remainder may hold no two torch ops of which one needs the other through an `lm` op: a call
computes all its results at once.  So every op gets a *level*, the largest number of times that a
value on its way here left torch, and torch ops are connected only within a level.
"""

from collections.abc import Iterable

from ingot.ir import Block, FromTorch, Operation, OpView, ToTorch, Value
from ingot.passes.core import ops_of

from .shapes import torch_tensor


def is_torch(op: OpView) -> bool:
    """Return whether `op` is of the torch dialect."""
    name: str = op.operation.name
    return name.startswith("torch.")


def is_tensor(value: Value) -> bool:
    """Return whether `value` is a torch tensor or a list of them."""
    return torch_tensor(value) is not None or "vtensor" in str(value.type)


def is_copied(op: OpView) -> bool:
    """Return whether `op` is a torch op that every remainder gets a copy of where it needs it.

    Those are ops that make numbers, lists of numbers and literals.
    """
    makes_tensors = any(map(is_tensor, op.operation.results))
    return is_torch(op) and (not makes_tensors or op.operation.name == "torch.vtensor.literal")


def levels(block: Block) -> dict[Operation, int]:
    """Return the level of each op of `block`.

    A torch op that only torch ops read has the lowest level of its readers, so that what merely
    prepares an operand does not leave torch in between.
    """
    found: dict[Operation, int] = {}
    ops = ops_of(block)
    for op in ops:
        above = max((found.get(p, 0) for p in _producers(op)), default=0)
        found[op.operation] = above + isinstance(op, FromTorch)
    for op in reversed(ops):
        readers = [use.owner for result in op.operation.results for use in result.uses]
        if is_torch(op) and readers and all(is_torch(reader) for reader in readers):
            found[op.operation] = min(found[reader.operation] for reader in readers)
    return found


def crossings(block: Block) -> list[tuple[OpView, int]]:
    """Return the operands (op and index) by which a torch op reads a tensor of a lower level."""
    level = levels(block)
    return [
        (op, index)
        for op in block.operations
        if is_torch(op) and not is_copied(op)
        for index, operand in enumerate(op.operation.operands)
        if is_tensor(operand)
        and isinstance(operand.owner, OpView)
        and is_torch(operand.owner)
        and not is_copied(operand.owner)
        and level[operand.owner.operation] < level[op.operation]
    ]


def remainders(block: Block) -> list[list[OpView]]:
    """Return the connected groups of torch ops that make tensors, each in the order of `block`."""
    ops = [op for op in block.operations if is_torch(op) and not is_copied(op)]
    parent = {op.operation: op.operation for op in ops}

    def root(one: Operation) -> Operation:
        while parent[one] != one:
            one = parent[one]
        return one

    for op in ops:
        for maker in _producers(op):
            if maker in parent:
                parent[root(maker)] = root(op.operation)
    groups: dict[Operation, list[OpView]] = {}
    for op in ops:
        groups.setdefault(root(op.operation), []).append(op)
    return list(groups.values())


def copies_for(ops: Iterable[OpView]) -> list[OpView]:
    """Return the copied ops that `ops` need, directly or not, each after those it needs itself."""
    found: dict[Operation, OpView] = {}

    def visit(op: OpView) -> None:
        for operand in op.operation.operands:
            maker = operand.owner
            if isinstance(maker, OpView) and is_copied(maker) and maker.operation not in found:
                visit(maker)
                found[maker.operation] = maker

    for op in ops:
        visit(op)
    return list(found.values())


def bridges_of(ops: Iterable[OpView]) -> list[ToTorch]:
    """Return the bridges by which `ops` read values from outside torch, each once."""
    found: dict[Operation, ToTorch] = {}
    for op in ops:
        for operand in op.operation.operands:
            if isinstance(operand.owner, ToTorch):
                found.setdefault(operand.owner.operation, operand.owner)
    return list(found.values())


def _producers(op: OpView) -> list[Operation]:
    owners = (operand.owner for operand in op.operation.operands)
    return [owner.operation for owner in owners if isinstance(owner, OpView)]
