"""How many operations of each kind a module has."""

from collections import Counter

from ingot.ir import Module

from .records import Counts


def count_ops(module: Module) -> Counts:
    """Return the number of operations by name, in the order of the names; returns left out."""
    found: Counter[str] = Counter()
    for function in module.functions:
        found.update(str(op.operation.name) for op in function.entry_block.operations)
    del found["func.return"]
    return dict(sorted(found.items()))
