"""Tables: each device looks up the tokens whose rows it has, the others give zeros."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ingot.ir import Embedding, LocalIds, Op, Sharding, Value, shape_of
from ingot.passes.sharding.rule import Context, Given, Placement, Rule


class EmbeddingRule(Rule):
    """The rows of a table `[V, features]` divided: the result is a sum with one term a token."""

    operations: ClassVar[tuple[type[Op], ...]] = (Embedding,)

    def place(self, op: Embedding, given: Given, context: Context) -> Placement:
        table = given["table"]
        rows, columns = table.dims if table is not None else ((), ())
        partial = tuple(part.axis for part in rows)
        wanted = {"table": Sharding((rows, columns))}
        return Placement(wanted, (Sharding(((), columns), partial),))

    def local(
        self, op: Op, operands: Mapping[str, Value], placement: Placement, context: Context
    ) -> Sequence[Value]:
        table, tokens = operands["table"], operands["tokens"]
        for part in placement.operands["table"].dims[0]:
            size, rows = context.mesh.size(part.axis), shape_of(table)[0]
            tokens = LocalIds(tokens, axis=part.axis, size=size, rows=rows).out
        return [Embedding(tokens, table).out]
