"""What lies between the linears of experts, and the weighted sum of their results."""

from functools import partial

from ingot.ir import ExpertUnit
from ingot.targets.cpu.build import F32, Pointer, Value, constant, loop, maximum, minimum, splat
from ingot.targets.cpu.kernel import Arguments, Kernel
from ingot.targets.cpu.kernels.activation_functions import ACTIVATION_FUNCTIONS, exp
from ingot.targets.cpu.kernels.elementwise_groups import GROUP, Group, each_group
from ingot.targets.cpu.kernels.rounding import SINKS, SinkKind, strided_slots, symbol
from ingot.targets.cpu.levels import Level

from .grouping import place_of


def unit_kernel(
    unit: ExpertUnit, features: int, choices: int, *, weigh: bool, sink: SinkKind
) -> Kernel:
    """`ExpertUnit` on the rows of all pairs; `features` are those of its result.

    A unit of work is a pair.  `weigh`: x is multiplied by the pair's weight first.  Slots: x,
    x_stride, places, places_stride, weights, weights_stride (f32 `[rows, choices]`), y, y_stride.
    """
    numbers = (unit.alpha, unit.limit, unit.up_shift)
    gating = "gated" if unit.gated else ""
    options = (gating, "weighed" if weigh else "", sink)
    name = symbol("experts_unit", unit.kind, *numbers, features, choices, *options)
    slots = strided_slots("x", "places", "weights", "y")
    body = partial(_unit, unit, features, choices, weigh, sink)
    return Kernel(name, slots, body, bf16=sink == "bf16")


def mix_kernel(features: int, choices: int, *, weigh: bool) -> Kernel:
    """The sum over a token's choices, in order, of its pairs' rows.  A unit is a token.

    `weigh`: times their weights.  Slots: x, x_stride (rows of pairs), places, places_stride,
    weights, weights_stride, y, y_stride.
    """
    name = symbol("experts_mix", features, choices, "weighed" if weigh else "")
    slots = strided_slots("x", "places", "weights", "y")
    return Kernel(name, slots, partial(_mix, features, choices, weigh))


def _weight(arguments: Arguments, token: Value, choice: Value) -> Value:
    weights = arguments.pointer("weights").at(token * arguments.integer("weights_stride"))
    return splat(weights.load(F32, choice * 4), GROUP)


def _unit(
    unit: ExpertUnit,
    features: int,
    choices: int,
    weigh: bool,
    sink: SinkKind,
    level: Level,
    arguments: Arguments,
) -> None:
    with loop(arguments.begin, arguments.end) as pairs:
        token, choice = pairs.index // choices, pairs.index % choices
        place = place_of(arguments, token, choice)
        gate = arguments.pointer("x").at(place * arguments.integer("x_stride"))
        y = arguments.pointer("y").at(place * arguments.integer("y_stride"))
        weight = _weight(arguments, token, choice) if weigh else None

        def write(group: Group) -> None:
            values = _weighed(group.load(gate), weight)
            if unit.gated:
                up = _weighed(group.load(gate.at(4 * features)), weight)
                values = _gated(level, unit, values, up)
            else:
                values = _activated(level, unit, values)
            SINKS[sink](level, y, group, values)

        each_group(features, write)


def _weighed(values: Value, weight: Value | None) -> Value:
    return values if weight is None else values * weight


def _gated(level: Level, unit: ExpertUnit, gate: Value, up: Value) -> Value:
    if unit.limit:
        limit = constant(gate.type, unit.limit)
        gate = minimum(limit, gate)
        up = maximum(constant(gate.type, -unit.limit), minimum(limit, up))
    if unit.up_shift:
        up = up + unit.up_shift
    return _activated(level, unit, gate) * up


def _activated(level: Level, unit: ExpertUnit, gate: Value) -> Value:
    if unit.alpha != 1.0:
        return gate / (exp(level, gate * -unit.alpha) + 1.0)
    return ACTIVATION_FUNCTIONS[unit.kind](level, gate)


def _mix(features: int, choices: int, weigh: bool, level: Level, arguments: Arguments) -> None:
    with loop(arguments.begin, arguments.end) as tokens:
        token = tokens.index
        y = arguments.pointer("y").at(token * arguments.integer("y_stride"))
        for number in range(choices):
            choice = constant(token.type, number)
            place = place_of(arguments, token, choice)
            x = arguments.pointer("x").at(place * arguments.integer("x_stride"))
            weight = _weight(arguments, token, choice) if weigh else None
            each_group(features, partial(_add, x, y, weight, number == 0))


def _add(x: Pointer, y: Pointer, weight: Value | None, first: bool, group: Group) -> None:
    values = _weighed(group.load(x), weight)
    group.store(y, values if first else group.load(y) + values)
