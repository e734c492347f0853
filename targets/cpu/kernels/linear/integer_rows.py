"""Integer linear for a few rows: weights stream from memory once, rows share what is unpacked."""

from collections.abc import Sequence

from ingot.targets.cpu.build import Pointer, Value, constant, loop
from ingot.targets.cpu.kernel import Arguments
from ingot.targets.cpu.kernels.rounding import ROUNDED_GROUP_BYTES
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import GROUP

from .integer_arithmetic import add_group
from .integer_weights import Index, for_many_rows, load_group
from .panels import for_panels
from .shape import FLOATS, LinearShape, output_of


def integer_rows(
    level: Level, arguments: Arguments, *, shape: LinearShape, rows: int, width: int, ahead: int
) -> None:
    """Compute `rows` rows, `width` panels at a time, prefetching `ahead` bytes of each panel."""

    def body(first: Value, count: int) -> None:
        weights = arguments.pointer("weights")
        panels = [weights.at((first + i) * shape.panel_bytes) for i in range(count)]
        sums: Sequence[Value] = [constant(FLOATS, 0.0)] * (count * rows)
        sums = _over_groups(level, shape, panels, arguments.pointer("x"), sums, ahead)
        for i in range(count):
            output = output_of(shape, arguments, first + i)
            for row in range(rows):
                output.store(row, sums[i * rows + row])

    for_panels(arguments, width, body)


def _over_groups(
    level: Level,
    shape: LinearShape,
    panels: Sequence[Pointer],
    x: Pointer,
    sums: Sequence[Value],
    ahead: int,
) -> Sequence[Value]:
    """Go through K a block at a time; the groups of a block are written out."""
    packing = shape.packing
    per_block = packing.span // GROUP
    full, rest = divmod(shape.groups, per_block)

    def block(index: Index, groups: int, sums: Sequence[Value]) -> Sequence[Value]:
        offset = index * packing.block_bytes
        activations = x.at(index * (per_block * ROUNDED_GROUP_BYTES))
        for place in range(groups):
            at = activations.at(place * ROUNDED_GROUP_BYTES)
            sums = _group(level, shape, panels, offset, place, at, sums)
            for panel in panels if ahead else ():
                for line in range(place * 64, packing.block_bytes, groups * 64):
                    panel.prefetch(offset + (ahead + line))
        return sums

    if full:
        with loop(0, full, carried=sums) as blocks:
            blocks.carry(*block(blocks.index, per_block, blocks.carried))
        sums = blocks.results
    return block(full, rest, sums) if rest else sums


def _group(
    level: Level,
    shape: LinearShape,
    panels: Sequence[Pointer],
    block: Index,
    place: int,
    x: Pointer,
    sums: Sequence[Value],
) -> list[Value]:
    rows = len(sums) // len(panels)
    results = []
    for i, panel in enumerate(panels):
        weights = load_group(level, shape.packing_name, panel, block, place)
        if rows > 2:
            weights = for_many_rows(level, weights)
        for row in range(rows):
            at = x.at(row * shape.row_bytes)
            results.append(add_group(level, weights, at, sums[i * rows + row]))
    return results
