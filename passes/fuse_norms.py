"""Fuses the residual sum into the norm that follows it: one pass over the activations, not two."""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import Add, AddLayerNorm, AddRmsNorm, LayerNorm, Module, RmsNorm

from .core import EXACT, Contract, Pass, pattern, producer, replace, rewrite


@dataclass(frozen=True)
class FuseNorms(Pass):
    """Fuse each residual sum with the norm that reads it."""

    contract: ClassVar[Contract] = EXACT

    def run(self, module: Module) -> None:
        rewrite(module, (fuse_sum,))


@pattern
def fuse_sum(op: RmsNorm | LayerNorm) -> None:
    """`norm(x + residual)`, where nothing reads the sum before the norm does."""
    total = producer(op.x, Add)
    if total is None or total.x.type != total.y.type:
        return
    if any(use.owner.operation.is_before_in_block(op.operation) for use in total.out.uses):
        return
    if op.heads > 1:
        return
    if isinstance(op, LayerNorm):
        fused = AddLayerNorm(total.x, total.y, op.w, op.b, eps=op.eps)
    else:
        fused = AddRmsNorm(total.x, total.y, op.w, eps=op.eps)
    replace(op, fused.out)
    replace(total, fused.sum)
