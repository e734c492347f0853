"""Cancels bridges and identities, merges equal ops and removes what nobody uses."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import Block, FromTorch, Module, OpView, Scale, Slice, ToTorch, columns_of

from .core import (
    EXACT,
    Contract,
    Pass,
    blocks,
    erase_dead,
    is_pure,
    ops_of,
    pattern,
    producer,
    replace,
    rewrite,
)


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Cancel bridges and identities, merge equal ops, remove unused ones."""

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        rewrite(module, (back_from_torch, back_to_torch, whole_slice, scale_by_one))
        for block in blocks(module):
            merge_equal(block)
            erase_dead(block)


@pattern
def back_from_torch(op: FromTorch) -> None:
    """`from_torch(to_torch(x))` is x."""
    there = producer(op.x, ToTorch)
    if there is not None and there.x.type == op.out.type:
        replace(op, there.x)


@pattern
def back_to_torch(op: ToTorch) -> None:
    """`to_torch(from_torch(x))` is x."""
    there = producer(op.x, FromTorch)
    if there is not None and there.x.type == op.out.type:
        replace(op, there.x)


@pattern
def whole_slice(op: Slice) -> None:
    """A slice of all columns is its operand."""
    if op.size == columns_of(op.x):
        replace(op, op.x)


@pattern
def scale_by_one(op: Scale) -> None:
    """A product with one is its operand."""
    if op.factor == 1.0:
        replace(op, op.x)


def merge_equal(block: Block) -> None:
    """Let all users of equal pure ops use the first of them."""
    seen: dict[tuple[object, ...], OpView] = {}
    for op in ops_of(block):
        if not is_pure(op) or op.operation.regions:
            continue
        key = _key(op)
        first = seen.setdefault(key, op)
        if first is not op:
            replace(op, *first.operation.results)


def _key(op: OpView) -> tuple[object, ...]:
    operation = op.operation
    attributes = operation.attributes
    return (
        operation.name,
        tuple(operation.operands),
        tuple(sorted((name, str(attributes[name])) for name in attributes)),
        tuple(result.type for result in operation.results),
    )
