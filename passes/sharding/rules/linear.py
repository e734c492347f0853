"""Linears: by outputs (columns of the result), or by inputs (terms of a sum)."""

from typing import ClassVar

from ingot.ir import Linear, Op, Sharding
from ingot.passes.sharding.rule import Context, Given, Placement, Rule


class LinearRule(Rule):
    """Its weight `[N, K]` says how: N divided, K divided, or every device has it whole.

    Then rows may be divided, but for what chooses experts: those read whole rows in any case.
    """

    operations: ClassVar[tuple[type[Op], ...]] = (Linear,)

    def place(self, op: Linear, given: Given, context: Context) -> Placement:
        weight, x = given["w"], given["x"]
        outputs, inputs = weight.dims if weight is not None else ((), ())
        assert not (outputs and inputs), f"a linear divided both ways: {weight}"
        assert x is not None
        if inputs:
            assert op.bias is None, "terms of a sum would each have the bias"
            wanted = Sharding(((), inputs))
            partial = tuple(part.axis for part in inputs)
            return Placement(
                {"x": wanted, "w": Sharding(((), inputs))}, (Sharding(((), ()), partial),)
            )
        if outputs:
            return Placement(
                {
                    "x": Sharding.replicated(2),
                    "w": Sharding((outputs, ())),
                    "bias": Sharding((outputs,)),
                },
                (Sharding(((), outputs)),),
            )
        rows = () if chooses_experts(op) else context.resolved(x).dims[0]
        wanted = Sharding((rows, ()))
        return Placement({"x": wanted}, (wanted,))


def chooses_experts(op: Linear) -> bool:
    """Return whether a router alone reads the result."""
    return all(use.owner.operation.name == "lm.route" for use in op.out.uses)
