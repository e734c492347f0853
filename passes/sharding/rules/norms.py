"""Norms: rows apart, all features together unless every head has its own."""

from typing import ClassVar

from ingot.ir import (
    AddLayerNorm,
    AddRmsNorm,
    AttributeValue,
    L2Normalize,
    LayerNorm,
    Op,
    RmsNorm,
    Sharding,
)
from ingot.passes.sharding.rule import Context, Given, Placement, Rule

from .elementwise import merged


class NormRule(Rule):
    """A norm of one value."""

    operations: ClassVar[tuple[type[Op], ...]] = (RmsNorm, LayerNorm, L2Normalize)

    def place(
        self, op: RmsNorm | LayerNorm | L2Normalize, given: Given, context: Context
    ) -> Placement:
        found = given["x"]
        assert found is not None
        rows, columns = context.resolved(found).dims
        heads = 1 if isinstance(op, L2Normalize) else op.heads
        if any(heads % part.parts or part.blocks > 1 for part in columns):
            columns = ()
        wanted = Sharding((rows, columns))
        return Placement({"x": wanted}, (wanted,))

    def attributes(
        self, op: RmsNorm | LayerNorm | L2Normalize, placement: Placement, context: Context
    ) -> dict[str, AttributeValue]:
        if isinstance(op, L2Normalize):
            return {}
        heads = op.heads
        for part in placement.results[0].dims[1]:
            heads //= part.parts
        return {"heads": heads}


class AddNormRule(Rule):
    """A norm of a sum."""

    operations: ClassVar[tuple[type[Op], ...]] = (AddRmsNorm, AddLayerNorm)

    def place(self, op: AddRmsNorm | AddLayerNorm, given: Given, context: Context) -> Placement:
        x, residual = given["x"], given["residual"]
        assert x is not None and residual is not None
        rows, _ = merged([x, residual], context).dims
        wanted = Sharding((rows, ()))
        return Placement({"x": wanted, "residual": wanted}, (wanted, wanted))
