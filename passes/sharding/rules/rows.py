"""What chooses among rows, or makes one of many: it needs them all."""

from typing import ClassVar

from ingot.ir import Op, Pool, SelectRows, Sharding
from ingot.passes.sharding.rule import Context, Given, Placement, Rule

from .elementwise import is_only_read_once


class SelectRowsRule(Rule):
    """Columns stay divided, and a sum is made of the selected rows alone."""

    operations: ClassVar[tuple[type[Op], ...]] = (SelectRows,)

    def place(self, op: SelectRows, given: Given, context: Context) -> Placement:
        found = given["x"]
        assert found is not None
        keeps = is_only_read_once(op.x)
        wanted = Sharding(((), found.dims[1]), found.partial if keeps else ())
        return Placement({"x": wanted}, (wanted,))


class PoolRule(Rule):
    """A row of each sequence."""

    operations: ClassVar[tuple[type[Op], ...]] = (Pool,)

    def place(self, op: Pool, given: Given, context: Context) -> Placement:
        found = given["x"]
        assert found is not None
        wanted = Sharding(((), found.dims[1]))
        return Placement({"x": wanted}, (wanted,))
