"""Puts the (token, choice) pairs of a step in the order of their experts."""

from functools import partial

from ingot.targets.cpu.build import I8, I32, I64, Value, constant, loop
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.kernels.rounding import strided_slots, symbol
from ingot.targets.cpu.levels import Level

_LINE = I8.x(64)


def group_kernel(experts: int, choices: int) -> Kernel:
    """A counting sort of the pairs by expert; pairs of one expert stay in the order of tokens.

    There is one unit.  Slots: indices, indices_stride (i32 `[rows, choices]`), places,
    places_stride (i32, written: where each pair goes), starts (i32 `[experts + 1]`, written: where
    each expert's rows begin), rows (how many tokens).
    """
    rows = Slot("rows", "integer")
    slots = (*strided_slots("indices", "places"), Slot("starts"), rows)
    name = symbol("experts_group", experts, choices)
    return Kernel(name, slots, partial(_group, experts, choices))


def spread_kernel(row_bytes: int, choices: int) -> Kernel:
    """Copies each token's row of x to the rows of its pairs.  A unit is a pair.

    Slots: x, x_stride, places, places_stride, y, y_stride.  A row has `row_bytes`, a multiple of
    64.
    """
    assert row_bytes % 64 == 0
    name = symbol("experts_spread", row_bytes, choices)
    slots = strided_slots("x", "places", "y")
    return Kernel(name, slots, partial(_spread, row_bytes, choices))


def place_of(arguments: Arguments, token: Value, choice: Value) -> Value:
    """Return the row of a pair, i64."""
    places = arguments.pointer("places").at(token * arguments.integer("places_stride"))
    return places.load(I32, choice * 4).to(I64)


def _group(experts: int, choices: int, level: Level, arguments: Arguments) -> None:
    starts, counts, tokens = (
        arguments.pointer("starts"),
        arguments.scratch,
        arguments.integer("rows"),
    )
    zero = constant(I32, 0)
    with loop(0, experts) as each:
        counts.store(zero, each.index * 4)
    indices, stride = arguments.pointer("indices"), arguments.integer("indices_stride")
    with loop(0, tokens) as rows, loop(0, choices) as each:
        chosen = indices.at(rows.index * stride).load(I32, each.index * 4).to(I64) * 4
        counts.store(counts.load(I32, chosen) + 1, chosen)
    with loop(0, experts, carried=[zero]) as each:
        (start,) = each.carried
        count = counts.load(I32, each.index * 4)
        starts.store(start, each.index * 4)
        counts.store(start, each.index * 4)
        each.carry(start + count)
    starts.store(each.results[0], 4 * experts)
    places, places_stride = arguments.pointer("places"), arguments.integer("places_stride")
    with loop(0, tokens) as rows, loop(0, choices) as each:
        chosen = indices.at(rows.index * stride).load(I32, each.index * 4).to(I64) * 4
        place = counts.load(I32, chosen)
        places.at(rows.index * places_stride).store(place, each.index * 4)
        counts.store(place + 1, chosen)


def _spread(row_bytes: int, choices: int, level: Level, arguments: Arguments) -> None:
    with loop(arguments.begin, arguments.end) as pairs:
        token, choice = pairs.index // choices, pairs.index % choices
        place = place_of(arguments, token, choice)
        x = arguments.pointer("x").at(token * arguments.integer("x_stride"))
        y = arguments.pointer("y").at(place * arguments.integer("y_stride"))
        with loop(0, row_bytes, 64) as lines:
            y.store(x.load(_LINE, lines.index), lines.index)
