"""The arithmetic that every integer linear kernel shares, so that all give the same bits.

For each group of 32 along K, in order: v = exact integer dot product; t = f32(v)·scale rounded
once; sum = fma(t, s_a, sum); with minima sum = fma(minimum, s_a·Σa, sum).  There is one sum an
output.  With one scale a row (`q8c`) t = f32(v), and the sum is multiplied by the scale at the
end.
"""

from collections.abc import Sequence

from ingot.targets.cpu.build import F32, I32, Pointer, Value, constant
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import LANES

from .arithmetic import MAGIC, MAGIC_BITS
from .integer_weights import QUADS, GroupWeights

_FLOATS, _WORDS = F32.x(LANES), I32.x(LANES)

# Where the words of a group of rounded activations stand, after its 32 bytes.
_SCALE, _SCALED_SUM, _SUM, _START = 32, 36, 40, 44


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
