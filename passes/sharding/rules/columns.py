"""What needs all features of a row, but a row at a time: rows may be divided."""

from typing import ClassVar

from ingot.ir import Op, Round, Route, Sharding, Slice
from ingot.passes.sharding.rule import Context, Given, Placement, Rule


class SliceRule(Rule):
    """A range of the features."""

    operations: ClassVar[tuple[type[Op], ...]] = (Slice, Round)

    def place(self, op: Slice | Round, given: Given, context: Context) -> Placement:
        found = given["x"]
        assert found is not None
        wanted = Sharding((context.resolved(found).dims[0], ()))
        return Placement({"x": wanted}, (wanted,))


class RouteRule(Rule):
    """The choice of experts, by the scores of all."""

    operations: ClassVar[tuple[type[Op], ...]] = (Route,)

    def place(self, op: Route, given: Given, context: Context) -> Placement:
        found = given["logits"]
        assert found is not None
        wanted = Sharding((context.resolved(found).dims[0], ()))
        return Placement({"logits": wanted}, (wanted, wanted))
