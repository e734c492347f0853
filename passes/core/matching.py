"""Finding operations and who reads them, and letting them read something else."""

from typing import TypeVar

from ingot.ir import Module, Op, OpView, Value

from .blocks import blocks, ops_of

T = TypeVar("T", bound=OpView)


def find_ops(module: Module, kind: type[T]) -> list[T]:
    """Return the operations of a class in all functions, in order; later changes leave the list."""
    return [op for block in blocks(module) for op in ops_of(block) if isinstance(op, kind)]


def users(value: Value) -> list[OpView]:
    """Return the operations that read `value`, each once, in order."""
    found = {use.owner.operation: use.owner for use in value.uses}
    if not found:
        return []
    block = next(iter(found)).block
    return [found[op.operation] for op in block.operations if op.operation in found]


def only_user(value: Value, kind: type[T]) -> T | None:
    """Return the operation that reads `value` if it is a `kind`, and nothing else reads it."""
    readers = users(value)
    return readers[0] if len(readers) == 1 and isinstance(readers[0], kind) else None


def read_instead(op: Op, old: Value, new: Value) -> None:
    """Let `op` read `new` wherever it reads `old`; both are of a type that it takes."""
    for index, operand in enumerate(op.operation.operands):
        if operand == old:
            op.operation.operands[index] = new
