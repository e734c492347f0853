"""Spreads shardings from the weights over all values of the step, one rule an operation."""

from ingot.ir import (
    Module,
    Op,
    OpView,
    Sharding,
    Value,
    is_weight_expression,
    set_shardings,
    shardings_of,
)

from .context import contexts
from .rule import Context, Placement, given_of, is_tensor, rule_of


def propagate(module: Module) -> None:
    """Write the sharding of every value that has a row for each token, in order.

    What an operation has already been given stays.  A module without a mesh stays as it is.
    """
    if module.mesh is None:
        return
    known: dict[Value, Sharding] = {}
    for op, context in contexts(module):
        found = shardings_of(op, context.mesh)
        if is_weight(op):
            known.update(zip(op.results, found or (), strict=False))
            continue
        results = found or placement_of(op, known, context).results
        known.update(zip(op.operation.results, results, strict=True))
        if isinstance(op, Op) and all(map(is_tensor, op.results)):
            set_shardings(op, results, context.mesh)


def placement_of(op: OpView, known: dict[Value, Sharding], context: Context) -> Placement:
    """Return how `op` runs, given the shardings of the values that it reads."""
    return rule_of(op).place(op, given_of(op, known), context)


def is_weight(op: OpView) -> bool:
    """Return whether `op` makes nothing but weight expressions."""
    return isinstance(op, Op) and bool(op.results) and all(map(is_weight_expression, op.results))
