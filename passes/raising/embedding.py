"""Raises the lookup of token ids, or of learned positions, in a table."""

from ingot.ir import Embedding, torch_dialect
from ingot.passes.bridging import as_torch, indices, weight
from ingot.passes.core import pattern, replace


@pattern
def embedding(op: torch_dialect.AtenEmbeddingOp) -> None:
    """`aten.embedding(table, ids)`; the padding index only matters to gradients."""
    table, ids = weight(op.operands[0]), indices(op.operands[1])
    if table is None or ids is None:
        return
    replace(op, as_torch(Embedding(ids, table).out, op.result.type))
