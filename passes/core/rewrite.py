"""Patterns and their driver: a pattern is a function over an op, and its annotation is the matcher.

    @pattern
    def fuse(op: Mul) -> None:
        gate = producer(op.x, Activation)
        if gate is None:
            return
        replace(op, Glu(gate.x, op.y, gate.kind).out)

New ops are built before `op`, and get its location and those of all ops that they make unused.  A
pattern that does not apply returns without building anything; one that applies replaces the results
of `op`.

The driver sweeps over the ops of a block in order until nothing changes, and erases ops only
between sweeps: the bindings do not keep Python references to an erased op from dangling.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints, overload

from ingot.ir import Block, Module, OpView, Value, before

from .blocks import blocks, ops_of
from .dead_code import erase_dead, is_used
from .origins import first_results, inherit_locations, uses_of

T = TypeVar("T")
MOST_SWEEPS = 100


@dataclass(frozen=True)
class Pattern:
    """A rewrite tried on every op whose name is in `roots`; higher `benefit` is tried first."""

    name: str
    roots: tuple[str, ...]
    apply: Callable[[Any], None]
    benefit: int = 1


@overload
def pattern(function: Callable[[Any], None]) -> Pattern: ...
@overload
def pattern(*, benefit: int) -> Callable[[Callable[[Any], None]], Pattern]: ...
def pattern(
    function: Callable[[Any], None] | None = None, *, benefit: int = 1
) -> Pattern | Callable[[Callable[[Any], None]], Pattern]:
    """Make a pattern of a function whose one parameter is annotated with the op, or a union."""

    def make(function: Callable[[Any], None]) -> Pattern:
        (parameter,) = inspect.signature(function).parameters
        kind = get_type_hints(function)[parameter]
        kinds = get_args(kind) if get_origin(kind) is UnionType else (kind,)
        roots = tuple(k.OPERATION_NAME for k in kinds)
        return Pattern(function.__name__, roots, function, benefit)

    return make if function is None else make(function)


def replace(op: OpView, *values: Value) -> None:
    """Let every user of the results of `op` use `values` instead."""
    results = list(op.operation.results)
    assert len(results) == len(values), f"{op.operation.name} has {len(results)} results"
    for old, new in zip(results, values, strict=True):
        old.replace_all_uses_with(new)


def producer(value: Value, kind: type[T]) -> T | None:
    """Return the op that makes `value` if it is a `kind`."""
    owner = value.owner
    return owner if isinstance(owner, kind) else None


def rewrite(module: Module, patterns: Iterable[Pattern]) -> None:
    """Apply `patterns` to every function of `module` until none changes anything."""
    groups: dict[int, dict[str, list[Pattern]]] = {}
    for one in patterns:
        for root in one.roots:
            groups.setdefault(one.benefit, {}).setdefault(root, []).append(one)
    for benefit in sorted(groups, reverse=True):
        for block in blocks(module):
            _rewrite_block(block, groups[benefit])


def _rewrite_block(block: Block, table: dict[str, list[Pattern]]) -> None:
    for _ in range(MOST_SWEEPS):
        changed = _sweep(ops_of(block), table)
        erase_dead(block)
        if not changed:
            return
    raise AssertionError(f"patterns still change something after {MOST_SWEEPS} sweeps")


def _sweep(ops: Sequence[OpView], table: dict[str, list[Pattern]]) -> bool:
    """Try the patterns on each op; an op counts as changed when its results lost their uses."""
    changed = False
    known = first_results(ops)
    for op in ops:
        for one in table.get(op.operation.name, ()):
            if not is_used(op):
                break
            uses = uses_of(op)
            with before(op):
                one.apply(op)
            if not is_used(op):
                inherit_locations(op, uses, known)
                changed = True
    return changed
