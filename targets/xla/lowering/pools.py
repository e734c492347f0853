"""The KV cache of a module: which attention writes and reads which array of pages."""

from dataclasses import dataclass, field

from ingot.ir import Attention, Module, PartialAttention, Value

from .program import KvPool, Options
from .segments import segments_of

AttentionOp = Attention | PartialAttention

Kept = tuple[Value, Value]
"""The keys and values that are kept: attentions to the same ones share a pool."""


@dataclass
class PoolPlan:
    """The pools of a module, and the number of the pool by what is kept in it."""

    pools: list[KvPool] = field(default_factory=list)
    numbers: dict[Kept, int] = field(default_factory=dict)

    def of_stage(self, stage: int) -> list[int]:
        """Return the numbers of a stage's pools, in the order in which programs take them."""
        return [n for n, pool in enumerate(self.pools) if pool.stage == stage]


def pool_plan(module: Module, options: Options) -> PoolPlan:
    """Return the pools of a module, in the order of its layers."""
    plan = PoolPlan()
    for segment in segments_of(module, options):
        for alike in zip(*segment.repeats, strict=True):
            first = alike[0]
            if not isinstance(first, AttentionOp) or (first.k, first.v) in plan.numbers:
                continue
            layers = tuple(op.layer for op in alike if isinstance(op, AttentionOp))
            size = max(first.head_dim, first.value_features)
            plan.numbers[first.k, first.v] = len(plan.pools)
            plan.pools.append(KvPool(layers, segment.stage, first.kv_heads, size))
    return plan


def pools_of(module: Module, options: Options) -> tuple[KvPool, ...]:
    """Return the pools of a module, in the order in which its stages' programs take theirs."""
    return tuple(pool_plan(module, options).pools)
