"""Which token ids a module knows."""

from collections.abc import Iterator

from ingot.ir import Block, Embedding, LocalIds, Module, ToTorch, Value, shape_of, vtensor_parts

from .blocks import step_block


def vocabulary_of(module: Module) -> int:
    """Return below which token ids are valid: the rows of the smallest table that they look up.

    Of a table that is spread over devices, the rows of all count.  A module whose tokens look
    nothing up has as many as its results have columns.
    """
    block = step_block(module)
    found = [_across_devices(ids, rows) for ids, rows in _lookups(block)]
    tables = [rows for ids, rows in found if ids == block.arguments[0]]
    return min(tables, default=shape_of(module.step.type.results[0])[-1])


def _lookups(block: Block) -> Iterator[tuple[Value, int]]:
    """Give the row numbers that each lookup reads, and how many rows its table has."""
    for op in block.operations:
        if isinstance(op, Embedding):
            yield op.tokens, shape_of(op.table)[0]
        elif op.operation.name == "torch.aten.embedding":
            table, ids, *_ = op.operands
            yield ids, vtensor_parts(table.type)[0][0]


def _across_devices(ids: Value, rows: int) -> tuple[Value, int]:
    """Return what row numbers are made from, and how many rows the tables of all devices have."""
    while isinstance(owner := ids.owner, LocalIds | ToTorch):
        rows *= owner.size if isinstance(owner, LocalIds) else 1
        ids = owner.operands[0]
    return ids, rows
