"""Layers that are alike as one loop over their stacked parameters and pages.

The loop carries what one layer hands to the next, and the pools that the layers write, which are
updated in place.
"""

from dataclasses import replace

from ingot.ir import Value
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

from .context import Context
from .pools import AttentionOp
from .segments import Segment
from .table import lower_operations


def lower_segment(context: Context, segment: Segment) -> None:
    """Lower the operations of a segment: once, or as the body of a loop."""
    if len(segment.repeats) == 1:
        lower_operations(context, segment.operations)
        return
    first, last, carried = segment.operations, segment.repeats[-1], segment.carried
    handed = {first[at].results[number]: last[at].results[number] for at, number in carried}
    entering = _entering(segment)
    numbers = sorted(
        {context.pools.numbers[op.k, op.v] for op in first if isinstance(op, AttentionOp)}
    )

    def layer(repeat: Array, *state: Array) -> list[Array]:
        inner = replace(
            context,
            values=context.values | dict(zip(entering, state, strict=False)),
            arrays=context.arrays | dict(zip(numbers, state[len(carried) :], strict=True)),
            kept=set(context.kept),
            repeat=repeat,
        )
        lower_operations(inner, first)
        made = [inner.values[value] for value in handed]
        return [*made, *(inner.arrays[number] for number in numbers)]

    start = [context.values[value] for value in entering]
    start += [context.arrays[number] for number in numbers]
    results = hlo.loop(0, len(segment.repeats), start, layer)
    context.values |= dict(zip(handed.values(), results, strict=False))
    context.arrays |= dict(zip(numbers, results[len(carried) :], strict=True))


def _entering(segment: Segment) -> list[Value]:
    """Return what the first repeat reads where others read what repeats hand on, in its order."""
    first, second = segment.repeats[0], segment.repeats[1]
    found: dict[Value, Value] = {}
    for one, other in zip(first, second, strict=True):
        found |= dict(zip(other.operands, one.operands, strict=True))
    return [found[first[at].results[number]] for at, number in segment.carried]
