"""Linear layers and tables."""

from ingot.ir import Embedding, Linear, LocalIds
from ingot.targets.xla import hlo

from .context import Context


def lower_linear(context: Context, op: Linear) -> None:
    y = context.matrix(op, op.w).apply(context.values[op.x])
    context.values[op.out] = y if op.bias is None else y + context.vector(op.bias)


def lower_embedding(context: Context, op: Embedding) -> None:
    """Lower `lm.embedding`; where ids may be -1, those are rows of zeros."""
    ids = context.values[op.tokens]
    rows = context.matrix(op, op.table).take(ids)
    if isinstance(op.tokens.owner, LocalIds):
        rows = hlo.where((ids < 0)[:, None], 0.0, rows)
    context.values[op.out] = rows
