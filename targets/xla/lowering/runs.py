"""Runs of layers that are alike: where they are, and what goes from one layer to the next."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ingot.ir import Attention, Op, OpView, PartialAttention, Value, is_weight_expression

LEAST_REPEATS = 3
"""A loop of two would save less than it costs."""
MOST_LAYERS = 8
"""Layers that differ among themselves but come again in the same order, at most."""

Result = tuple[int, int]
"""An operation by its number, and the number of one of its results."""


@dataclass(frozen=True)
class Run:
    """Operations `start` … `end` - 1: `size` of them again and again.

    `carried` are the results, by their number within a repeat, that the next repeat or what comes
    after the run reads.
    """

    start: int
    size: int
    count: int
    carried: tuple[Result, ...]

    @property
    def end(self) -> int:
        return self.start + self.size * self.count

    def repeats(self, operations: Sequence[OpView]) -> tuple[tuple[OpView, ...], ...]:
        """Return the operations of each repeat."""
        starts = range(self.start, self.end, self.size)
        return tuple(tuple(operations[at : at + self.size]) for at in starts)


def longest_run(
    operations: Sequence[OpView], start: int, end: int, results: set[object]
) -> Run | None:
    """Return the run in a range that saves the most operations, None if nothing repeats there.

    `results` are the values that the step returns.
    """
    made = {value: (i, n) for i, op in enumerate(operations) for n, value in enumerate(op.results)}
    layers = [
        i for i in range(start, end) if isinstance(operations[i], Attention | PartialAttention)
    ]
    sizes = {b - a for i, a in enumerate(layers) for b in layers[i + 1 : i + 1 + MOST_LAYERS]}
    best: Run | None = None
    for size in sorted(sizes):
        for run in _runs(operations, made, start, end, size):
            saved = 0 if best is None else best.size * (best.count - 1)
            if run.count >= LEAST_REPEATS and run.size * (run.count - 1) > saved:
                carried = _carried(operations, made, run, results)
                best = best if carried is None else Run(run.start, size, run.count, carried)
    return best


def _runs(
    operations: Sequence[OpView], made: Mapping[Value, Result], start: int, end: int, size: int
) -> Iterator[Run]:
    """Yield the stretches in which every operation is like that `size` further on."""
    at = start
    while at + size < end:
        first = at
        while at + size < end and _alike(operations[at], operations[at + size], made, size):
            at += 1
        if at - first >= size:
            yield Run(first, size, (at - first) // size + 1, ())
        at += 1


def _alike(one: OpView, other: OpView, made: Mapping[Value, Result], size: int) -> bool:
    """Return whether two operations do the same to operands that are `size` operations apart."""
    if type(one) is not type(other) or _attributes(one) != _attributes(other):
        return False
    if [value.type for value in one.results] != [value.type for value in other.results]:
        return False
    if len(one.operands) != len(other.operands):
        return False
    return all(_apart(x, y, made, size) for x, y in zip(one.operands, other.operands, strict=True))


def _apart(x: Value, y: Value, made: Mapping[Value, Result], size: int) -> bool:
    if is_weight_expression(x) and is_weight_expression(y):
        return _form(x) == _form(y)
    if x == y:
        return True
    if x not in made or y not in made:
        return False
    return (made[x][0] + size, made[x][1]) == made[y]


def _attributes(operation: OpView) -> dict[str, str]:
    names = (name for name in operation.attributes if name != "layer")
    return {name: str(operation.attributes[name]) for name in names}


def _form(value: Value) -> str:
    """Return a text that two weight expressions share if they differ in names of weights alone."""
    owner = value.owner
    assert isinstance(owner, Op)
    attributes = {n: str(owner.attributes[n]) for n in owner.attributes if n != "symbol"}
    operands = ",".join(map(_form, owner.operands))
    return f"{owner.OPERATION_NAME}{attributes}({operands}):{value.type}"


def _carried(
    operations: Sequence[OpView], made: Mapping[Value, Result], run: Run, results: set[object]
) -> tuple[Result, ...] | None:
    """Return what repeats hand on, None if values are read in a way that a loop cannot give.

    A repeat may read its own values, those of the repeat before, and what was there before the
    run.  Behind the run only what repeats hand on is there, as the last one left it.
    """
    found: dict[Result, None] = {}
    for i in range(run.start + run.size, run.start + 2 * run.size):
        for operand, value in enumerate(operations[i].operands):
            if value not in made:
                continue
            at, number = made[value]
            if at < run.start + run.size:
                found[at - run.start, number] = None
            if not _reads_alike(operations, made, run, i, operand):
                return None
    inside = {result: None for result in found if result[0] >= 0}
    outer = [*operations[: run.start], *operations[run.end :]]
    read = {value for operation in outer for value in operation.operands} | results
    last = run.end - run.size
    for i in range(run.start, run.end):
        for number, value in enumerate(operations[i].results):
            if value in read and (i - last, number) not in inside:
                return None
    return tuple(inside)


def _reads_alike(
    operations: Sequence[OpView], made: Mapping[Value, Result], run: Run, i: int, operand: int
) -> bool:
    """Return whether all repeats but the first read an operand from as far back, or from before."""
    value = operations[i].operands[operand]
    at, number = made[value]
    for repeat in range(1, run.count - 1):
        other = operations[i + repeat * run.size].operands[operand]
        if at < run.start and other != value:
            return False
        if at >= run.start and made[other] != (at + repeat * run.size, number):
            return False
    return True
