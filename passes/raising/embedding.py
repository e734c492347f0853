"""Raises the lookup of token ids, or of learned positions, in a table."""

from ingot.ir import Embedding, Value, torch_dialect
from ingot.passes.bridging import as_torch, indices, integer, integers, items, same, shape, weight
from ingot.passes.core import pattern, producer, replace
from ingot.passes.reading import repeated_indices


@pattern
def embedding(op: torch_dialect.AtenEmbeddingOp) -> None:
    """`aten.embedding(table, ids)`; the padding index only matters to gradients."""
    table, ids = weight(op.operands[0]), indices(op.operands[1])
    if table is None or ids is None:
        return
    replace(op, as_torch(Embedding(ids, table).out, op.result.type))


@pattern
def indexed(op: torch_dialect.AtenIndexTensorOp) -> None:
    """`table[ids]`."""
    table, chosen = weight(op.operands[0]), items(op.operands[1])
    ids = indices(chosen[0]) if len(chosen) == 1 else None
    if table is not None and ids is not None and len(shape(op.operands[0])) == 2:
        replace(op, as_torch(Embedding(ids, table).out, op.result.type))


@pattern
def gathered(op: torch_dialect.AtenGatherOp) -> None:
    """`gather(table, 1, ids)`, the table `[1, N, F]` and ids `[1, T, F]`, equal along F."""
    table, ids = _table(op.operands[0]), repeated_indices(op.operands[2])
    if table is None or ids is None or integer(op.operands[1]) != 1:
        return
    if shape(op.operands[0])[2:] == shape(op.result)[2:]:
        replace(op, as_torch(Embedding(ids, table).out, op.result.type))


def _table(value: Value) -> Value | None:
    """Return the weight `[N, F]` of which `value` is the one copy `[1, N, F]`."""
    repeat = producer(same(value), torch_dialect.AtenRepeatOp)
    if repeat is None or integers(repeat.operands[1]) != [1, 1, 1]:
        return None
    return weight(repeat.operands[0]) if len(shape(repeat.operands[0])) == 2 else None
