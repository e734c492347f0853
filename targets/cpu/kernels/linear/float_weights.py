"""Float weights for many rows: blocks of K, 64-byte lines of 16 outputs, widened where they must
be."""

from collections.abc import Callable, Sequence

from ingot.targets.cpu.build import I64, Pointer, Value, constant, loop
from ingot.targets.cpu.levels import Level

from .float_steps import LINE, Step
from .shape import LinearShape


def each_line(
    lines: Value | int,
    unroll: int,
    carried: Sequence[Value],
    body: Callable[[Value, int, Sequence[Value]], Sequence[Value]],
) -> Sequence[Value]:
    """Loop over `lines` lines in order: `body(first, count, carried)` does `count`, either
    `unroll` or 1, and returns what is carried on.
    """
    total = lines if isinstance(lines, Value) else constant(I64, lines)
    whole = total // unroll * unroll
    with loop(0, whole, unroll, carried) as main:
        main.carry(*body(main.index, unroll, main.carried))
    with loop(whole, total, 1, main.results) as rest:
        rest.carry(*body(rest.index, 1, rest.carried))
    return rest.results


def block_of(
    level: Level,
    shape: LinearShape,
    step: Step,
    panel: Pointer,
    k: Value,
    length: Value,
    scratch: Pointer,
) -> Pointer:
    """Return where the weights of `length` of K from k on are, as `Step.load` reads them.

    They are in place, or put to `scratch`, which has 64 bytes for each k.
    """
    if shape.packing.unpack is not None:
        return _unpacked(level, shape, panel, k, length, scratch)
    if step.packed or shape.packing.span == 1:
        return panel.at(k // shape.packing.span * LINE)
    line = Step(shape.packing.span)
    with loop(0, (length + 1) // 2) as pairs:
        offset = (k // 2 + pairs.index) * LINE
        for half, weight in enumerate(line.line(panel, offset)):
            scratch.store(weight, pairs.index * (2 * LINE) + half * LINE, align=LINE)
    return scratch


def _unpacked(
    level: Level, shape: LinearShape, panel: Pointer, k: Value, length: Value, to: Pointer
) -> Pointer:
    """Unpack a block of K to scratch, by what the packing brings for that."""
    packing = shape.packing
    assert packing.unpack is not None
    with loop(0, (length + (packing.span - 1)) // packing.span) as blocks:
        block = panel.at((k // packing.span + blocks.index) * packing.block_bytes)
        packing.unpack(level, block, to.at(blocks.index * (packing.span * LINE)))
    return to
