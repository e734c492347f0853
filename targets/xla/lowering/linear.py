"""Linear layers and tables."""

from ingot.ir import ROW_ACTIVATION, Embedding, Encoding, Linear, LocalIds, encoding_of
from ingot.targets.xla import hlo

from .context import Context
from .rounding import row_codes

WHOLE_ROWS = Encoding.parse("int8")


def lower_linear(context: Context, op: Linear) -> None:
    x, w = context.values[op.x], context.matrix(op, op.w)
    y = w.apply_codes(*row_codes(x)) if _is_whole_product(op) else w.apply(x)
    context.values[op.out] = y if op.bias is None else y + context.vector(op.bias)


def _is_whole_product(op: Linear) -> bool:
    """Return whether x and w have one scale a row, so that the product is one of integers."""
    return encoding_of(op.x) == ROW_ACTIVATION and encoding_of(op.w) == WHOLE_ROWS


def lower_embedding(context: Context, op: Embedding) -> None:
    """Lower `lm.embedding`; where ids may be -1, those are rows of zeros."""
    ids = context.values[op.tokens]
    rows = context.matrix(op, op.table).take(ids)
    if isinstance(op.tokens.owner, LocalIds):
        rows = hlo.where((ids < 0)[:, None], 0.0, rows)
    context.values[op.out] = rows
