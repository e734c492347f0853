"""Lets what a pattern builds keep the locations of all that it replaces.

Operations are told apart by their first result: the hash of an operation changes with its operands.
"""

from collections.abc import Iterable

from ingot.ir import (
    Convert,
    FromTorch,
    Location,
    Op,
    Operation,
    OpView,
    ToTorch,
    Value,
    Weight,
    fused_location,
    sources_of,
)

Use = tuple[Operation, int]
"""One operand of an operation, by its reader and place there."""


def first_results(ops: Iterable[OpView]) -> set[Value]:
    """Return the first result of each operation that has one."""
    return {op.results[0] for op in ops if len(op.results)}


def uses_of(op: OpView) -> list[Use]:
    """Return the operands that the results of `op` are."""
    return [(use.owner.operation, use.operand_number) for value in op.results for use in value.uses]


def inherit_locations(op: OpView, uses: Iterable[Use], known: set[Value]) -> None:
    """Locate what now stands at the `uses` that the results of `op` had.

    What is not among the `known` first results was built in place of `op`; it gets the locations of
    `op` and of all that is unused now that `op` is, and is known from then on.
    """
    built: list[Operation] = []
    for reader, index in uses:
        _collect(reader.operands[index], known, built)
    if not built:
        return
    location = fused_location([op.location, *_unused_below(op)])
    for operation in built:
        operation.location = location


def _collect(value: Value, known: set[Value], built: list[Operation]) -> None:
    """Add the new operations that make `value`, and count them as known."""
    owner = value.owner
    if not isinstance(owner, OpView) or owner.results[0] in known:
        return
    known.add(owner.results[0])
    built.append(owner.operation)
    for operand in owner.operands:
        _collect(operand, known, built)


def _unused_below(op: OpView) -> list[Location]:
    """Return the locations in the model of operations that nothing but `op` needed."""
    unused = {op.results[0]}
    found: list[Location] = []
    waiting = list(op.operands)
    while waiting:
        owner = waiting.pop(0).owner
        if not isinstance(owner, OpView) or owner.results[0] in unused:
            continue
        readers = [use.owner for value in owner.results for use in value.uses]
        if all(len(reader.results) and reader.results[0] in unused for reader in readers):
            unused.add(owner.results[0])
            waiting += owner.operands
            if _is_computation(owner):
                found.append(owner.location)
    return found


def _is_computation(op: OpView) -> bool:
    """Return whether `op` is in the model, and more than a weight or a view of its operand."""
    if isinstance(op, Op):
        return not isinstance(op, Convert | FromTorch | ToTorch | Weight)
    name = op.operation.name.removeprefix("torch.").removeprefix("aten.").partition(".")[0]
    return name not in _PLAIN and any(one.module for one in sources_of(op.location))


_PLAIN = frozenset(
    (
        *("_to_copy", "_unsafe_view", "alias", "clone", "constant", "contiguous", "detach"),
        *("expand", "permute", "prim", "reshape", "slice", "squeeze", "t", "to", "transpose"),
        *("unsqueeze", "view"),
    )
)
