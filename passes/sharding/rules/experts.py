"""Experts: whole ones along `ep`, to which tokens travel; the features of each along `tp`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ingot.ir import (
    AttributeValue,
    Combine,
    Dispatch,
    Experts,
    Op,
    Scale,
    Sharding,
    Value,
)
from ingot.passes.sharding.local import local_type, rebuilt
from ingot.passes.sharding.rule import Context, Given, Placement, Rule


class ExpertsRule(Rule):
    """The weights say how; a bias of the last linear is divided by the devices that each add it."""

    operations: ClassVar[tuple[type[Op], ...]] = (Experts,)

    def place(self, op: Experts, given: Given, context: Context) -> Placement:
        up = given["up"] or Sharding.replicated(2)
        down = given["down"] or Sharding.replicated(2)
        wanted = {
            "up": up,
            "down": down,
            "up_bias": Sharding(up.dims[:1]),
            "down_bias": Sharding(down.dims[:1]),
        }
        partial = tuple(part.axis for part in down.dims[1])
        return Placement(wanted, (Sharding(((), ()), partial),))

    def local(
        self, op: Experts, operands: Mapping[str, Value], placement: Placement, context: Context
    ) -> Sequence[Value]:
        operands = dict(operands)
        (result,) = placement.results
        for axis in result.partial:
            if "down_bias" in operands:
                factor = 1 / context.mesh.size(axis)
                operands["down_bias"] = Scale(operands["down_bias"], factor=factor).out
        kind = local_type(op.out, result)
        size = 1
        for part in placement.operands["down"].dims[0]:
            size *= part.parts
        if size == 1:
            return [rebuilt(op, operands, [kind], {}).results[0]]
        changed: dict[str, AttributeValue] = {"experts": op.experts // size}
        choices, count = operands["indices"], op.experts
        sent = Dispatch(
            operands["x"], choices, operands["weights"], axis="ep", size=size, experts=count
        )
        operands |= {
            "x": sent.out,
            "indices": sent.local_indices,
            "weights": sent.local_weights,
        }
        made = rebuilt(op, operands, [kind], changed).results[0]
        return [Combine(made, choices, axis="ep", size=size, experts=count).out]
