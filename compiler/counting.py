"""A module in numbers: operations by kind, bytes of weights, work of a step."""

from collections import Counter

from ingot.ir import Module

from .costs import step_cost, weight_bytes
from .records import Counts, Measures


def count_ops(module: Module) -> Counts:
    """Return the number of operations by name, in the order of the names; returns left out."""
    found: Counter[str] = Counter()
    for function in module.functions:
        found.update(str(op.operation.name) for op in function.entry_block.operations)
    del found["func.return"]
    return dict(sorted(found.items()))


def measure_module(module: Module, costs: bool = False) -> Measures:
    """Return the numbers of a module; those that follow from costs only where `costs` says so."""
    if not costs:
        return Measures(count_ops(module))
    work = step_cost(module, 1)
    return Measures(count_ops(module), weight_bytes(module), work.flops, work.bytes)
