"""Functions of single elements, of one value or of two: divided as their operands are."""

from collections.abc import Sequence
from typing import ClassVar

from ingot.ir import (
    Activation,
    Add,
    AddConstant,
    Glu,
    Mul,
    Op,
    Part,
    Scale,
    Sharding,
    Softcap,
    Value,
    shape_of,
)
from ingot.passes.sharding.readers import readers_of
from ingot.passes.sharding.rule import Context, Given, Placement, Rule


class UnaryRule(Rule):
    """A function of one value; a factor may come before the sum is made."""

    operations: ClassVar[tuple[type[Op], ...]] = (Activation, AddConstant, Scale, Softcap)

    def place(
        self, op: Activation | AddConstant | Scale | Softcap, given: Given, context: Context
    ) -> Placement:
        found = given["x"]
        assert found is not None
        kept = isinstance(op, Scale) and is_only_read_once(op.x)
        wanted = found if kept else context.resolved(found)
        return Placement({"x": wanted}, (wanted,))


class BinaryRule(Rule):
    """A sum or a product; sums of terms that devices hold are added before they are made."""

    operations: ClassVar[tuple[type[Op], ...]] = (Add, Mul, Glu)

    def place(self, op: Add | Mul | Glu, given: Given, context: Context) -> Placement:
        first, second = ("gate", "up") if isinstance(op, Glu) else ("x", "y")
        x, y = given[first], given[second]
        assert x is not None, f"{op.OPERATION_NAME} of a weight"
        values = (getattr(op, first), getattr(op, second))
        if len(shape_of(values[1])) == 1:
            return _with_vector(op, x, context)
        assert y is not None, f"{op.OPERATION_NAME} with a weight"
        if _keeps_terms(op, x, y, values):
            return Placement({first: x, second: y}, (x if x.partial else y,))
        wanted = merged([x, y], context)
        return Placement({first: wanted, second: wanted}, (wanted,))


def _with_vector(op: Add | Mul | Glu, x: Sharding, context: Context) -> Placement:
    wanted = x if isinstance(op, Mul) and is_only_read_once(op.x) else context.resolved(x)
    return Placement({"x": wanted, "y": Sharding(wanted.dims[-1:])}, (wanted,))


def _keeps_terms(op: Add | Mul | Glu, x: Sharding, y: Sharding, values: Sequence[Value]) -> bool:
    """Return whether the result may stay a sum that is still to be made."""
    if x.dims != y.dims or not (x.partial or y.partial):
        return False
    terms = [value for value, one in zip(values, (x, y), strict=True) if one.partial]
    if not all(map(is_only_read_once, terms)):
        return False
    if isinstance(op, Add):
        return x.partial == y.partial
    return isinstance(op, Mul) and len(terms) == 1


def is_only_read_once(value: Value) -> bool:
    """Return whether one operation alone reads the value: else its sum is made once for all."""
    return len(readers_of(value)) == 1


def merged(shardings: Sequence[Sharding], context: Context) -> Sharding:
    """Return one sharding for values that go element by element: divided where one of them is.

    A sum that is still to be made leaves divided rows, where they may be.
    """
    made = [context.resolved(one) for one in shardings]
    rows, *others = (_divided([one.dims[dim] for one in made]) for dim in range(len(made[0].dims)))
    taken = {part.axis for part in rows}
    columns = [tuple(part for part in parts if part.axis not in taken) for parts in others]
    return Sharding((rows, *columns))


def _divided(parts: Sequence[tuple[Part, ...]]) -> tuple[Part, ...]:
    """Return the first parts that divide a dimension, nothing where none does."""
    return next(filter(None, parts), ())
