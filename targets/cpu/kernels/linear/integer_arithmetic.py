"""The arithmetic that every integer linear kernel shares, so that all give the same bits.

For each group of 32 along K, in order: v = exact integer dot product; t = f32(v)·scale rounded
once; sum = fma(t, s_a, sum); with minima sum = fma(minimum, s_a·Σa, sum).  There is one sum an
output.  Where several groups share a scale, part = fma(f32(v), s_a, part) from 0 over those groups,
then sum = fma(part, scale, sum); where a whole row does (`q8c`) the one part is multiplied by it.
"""

from collections.abc import Callable, Sequence

from ingot.targets.cpu.build import F32, I32, I64, Pointer, Value, constant, loop, minimum
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import LANES, IntegerLayout

from .arithmetic import MAGIC, MAGIC_BITS
from .integer_weights import QUADS, GroupWeights

_FLOATS, _WORDS = F32.x(LANES), I32.x(LANES)

# Where the words of a group of rounded activations stand, after its 32 bytes.
_SCALE, _SCALED_SUM, _SUM, _START = 32, 36, 40, 44


def fold_groups(
    level: Level,
    layout: IntegerLayout,
    groups: Value | int,
    sums: Sequence[Value],
    add: Callable[[Value, Sequence[Value]], Sequence[Value]],
    scales: Callable[[Value], Sequence[Value]],
) -> Sequence[Value]:
    """Loop over `groups` groups: `add(group, sums)` returns the sums with one more.

    Where several groups share a scale it is given parts instead; `scales(first group)` returns what
    those are multiplied by, panel by panel as the sums are.
    """
    each = layout.groups_per_scale
    if each == 1:
        with loop(0, groups, carried=sums) as single:
            single.carry(*add(single.index, single.carried))
        return single.results
    total = groups if isinstance(groups, Value) else constant(I64, groups)
    with loop(0, groups, each, sums) as shared:
        first = shared.index
        with loop(first, minimum(first + each, total), carried=zeros(len(sums))) as parts:
            parts.carry(*add(parts.index, parts.carried))
        shared.carry(*scale_parts(level, parts.results, scales(first), shared.carried))
    return shared.results


def zeros(count: int) -> list[Value]:
    """Return that many sums of nothing."""
    return [constant(_FLOATS, 0.0)] * count


def scale_parts(
    level: Level, parts: Sequence[Value], scales: Sequence[Value], sums: Sequence[Value]
) -> list[Value]:
    """Return the sums plus the parts of the groups that share a scale, panel by panel."""
    return [
        level.fma(part, scales[i % len(scales)], total)
        for i, (part, total) in enumerate(zip(parts, sums, strict=True))
    ]


def add_rows(
    level: Level,
    weights: Sequence[GroupWeights],
    rows: Sequence[Pointer],
    sums: Sequence[Value],
    at_once: int,
) -> list[Value]:
    """Add the products of the groups of some panels and some rows to `sums`, row by row.

    Of `at_once` rows all sums take one quad of K, then the next: weights and activations are read
    once, and the dot products of a quad do not wait for each other.
    """
    pairs = [(group, row) for row in rows[:at_once] for group in weights]
    if not pairs:
        return []
    dots = [level.dot_sum(start_of(group, row), group.limit) for group, row in pairs]
    for quad in range(QUADS):
        words = [words_of(row, quad) for row in rows[:at_once]]
        for i, (group, _) in enumerate(pairs):
            dots[i] = dots[i].add(group.quads[quad], words[i // len(weights)])
    totals = [
        scale_and_add(level, group, row, dot.total().bitcast(_FLOATS), total)
        for (group, row), dot, total in zip(pairs, dots, sums, strict=False)
    ]
    return totals + add_rows(level, weights, rows[at_once:], sums[len(pairs) :], at_once)


def dot_group(level: Level, weights: GroupWeights, x: Pointer) -> Value:
    """Return MAGIC + the exact dot product of each output, as floats; needs the bytes only."""
    words = [words_of(x, quad) for quad in range(QUADS)]
    return level.dot(start_of(weights, x), weights.quads, words, weights.limit).bitcast(_FLOATS)


def words_of(x: Pointer, quad: int) -> Value:
    """Return four neighbouring activations in every lane."""
    return x.load_splat(_WORDS, 4 * quad)


def start_of(weights: GroupWeights, x: Pointer) -> Value:
    """Return what an integer sum starts with: the bits of MAGIC, less 128·Σa for bytes that are
    code + 128.  Read as a float the sum is then MAGIC + v exactly, |v| < 2^22.
    """
    return x.load_splat(_WORDS, _START) if weights.bias else constant(_WORDS, MAGIC_BITS)


def scale_and_add(
    level: Level, weights: GroupWeights, x: Pointer, summed: Value, total: Value
) -> Value:
    """Return `total` plus what `dot_group` returned, scaled and offset."""
    scaled = _scaled(level, weights, x, summed)
    total = level.fma(scaled, x.load_splat(_FLOATS, _SCALE), total)
    if weights.minimum is not None:
        total = level.fma(weights.minimum, x.load_splat(_FLOATS, _SCALED_SUM), total)
    return total


def _scaled(level: Level, weights: GroupWeights, x: Pointer, summed: Value) -> Value:
    if weights.magic_scale is not None:
        assert weights.scale is not None
        return level.fma(summed, weights.scale, weights.magic_scale)
    exact = summed - MAGIC
    if weights.zero is not None:
        exact = level.fma(-weights.zero, x.load_splat(_FLOATS, _SUM), exact)
    return exact if weights.scale is None else exact * weights.scale
