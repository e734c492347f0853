"""Attention: heads divided along `tp`, the cache of a sequence along `cp`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from ingot.ir import (
    Attention,
    AttributeValue,
    MergeAttention,
    Op,
    Part,
    PartialAttention,
    Sharding,
    Value,
)
from ingot.passes.sharding.divisions import kv_parts
from ingot.passes.sharding.rule import Context, Given, Placement, Rule


class AttentionRule(Rule):
    """Every device has equal shares of the query heads, with the KV heads that they read."""

    operations: ClassVar[tuple[type[Op], ...]] = (Attention,)

    def place(self, op: Attention, given: Given, context: Context) -> Placement:
        size = context.mesh.size("tp")
        if size == 1:
            return Placement({}, (Sharding.replicated(2),))
        heads, kv_heads = Part("tp", size), Part("tp", kv_parts(op.kv_heads, size))
        wanted = {
            "q": Sharding(((), (heads,))),
            "k": Sharding(((), (kv_heads,))),
            "v": Sharding(((), (kv_heads,))),
            "sinks": Sharding(((heads,),)),
            "slopes": Sharding(((heads,),)),
        }
        return Placement(wanted, (Sharding(((), (heads,))),))

    def attributes(
        self, op: Attention, placement: Placement, context: Context
    ) -> dict[str, AttributeValue]:
        size = context.mesh.size("tp")
        return {"heads": op.heads // size, "kv_heads": op.kv_heads // kv_parts(op.kv_heads, size)}

    def local(
        self, op: Attention, operands: Mapping[str, Value], placement: Placement, context: Context
    ) -> Sequence[Value]:
        size = context.mesh.size("cp")
        if size == 1:
            return super().local(op, operands, placement, context)
        kept = ("layer", "head_dim", "value_dim", "scale", "causal", "window", "chunk", "softcap")
        values = [operands.get(name) for name in ("q", "k", "v", "batch", "sinks", "slopes")]
        attributes = {name: getattr(op, name) for name in kept}
        attributes |= self.attributes(op, placement, context)
        part = PartialAttention(*values, axis="cp", size=size, **attributes)
        heads = part.heads
        return [MergeAttention(part.out, part.lse, axis="cp", size=size, heads=heads).out]
