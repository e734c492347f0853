"""Routing: the scores of a token's experts, the best of them, their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ingot.targets.cpu.build import (
    F32,
    I32,
    I64,
    Pointer,
    Value,
    absolute,
    constant,
    iota,
    loop,
    maximum,
    minimum,
    reduce,
    reduce_add,
    reduce_max,
    select,
    splat,
    when,
)
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.kernels.activation_functions import exp, sigmoid
from ingot.targets.cpu.kernels.elementwise_groups import (
    GROUP,
    VECTOR,
    Group,
    each_group,
    fold_groups,
)
from ingot.targets.cpu.kernels.rounding import strided_slots, symbol
from ingot.targets.cpu.levels import Level

_LANES = I32.x(GROUP)
_LOWEST = float("-inf")


@dataclass(frozen=True)
class Routing:
    """What a routing kernel is specialised to: as in `lm.route`, and the number of experts."""

    experts: int
    choices: int
    score: str
    normalize: bool
    eps: float
    scale: float
    groups: int
    groups_per_token: int
    group_score: str
    bias: bool
    threshold: float = 0.0


def route_kernel(routing: Routing) -> Kernel:
    """`lm.route`.  A unit is a token.

    Slots: logits, logits_stride, bias (f32, if there is one), indices, indices_stride (i32),
    weights, weights_stride (f32).
    """
    r = routing
    weighing = ("normalized" if r.normalize else "", r.eps, r.scale)
    grouping = (r.groups, r.groups_per_token, r.group_score)
    name = symbol(
        "route",
        r.experts,
        r.choices,
        r.score,
        *weighing,
        *grouping,
        r.threshold,
        "bias" if r.bias else "",
    )
    bias = (Slot("bias"),) if r.bias else ()
    slots = (*strided_slots("logits"), *bias, *strided_slots("indices", "weights"))
    return Kernel(name, slots, partial(_body, routing))


def _body(routing: Routing, level: Level, arguments: Arguments) -> None:
    row_bytes = -(-routing.experts // GROUP) * GROUP * 4
    scores, ranking = arguments.scratch, arguments.scratch.at(row_bytes)
    with loop(arguments.begin, arguments.end) as tokens:
        rows = {
            name: arguments.pointer(name).at(tokens.index * arguments.integer(f"{name}_stride"))
            for name in ("logits", "indices", "weights")
        }
        _score(routing, level, rows["logits"], scores)
        bias = arguments.pointer("bias") if routing.bias else None
        _rank(routing, scores, bias, ranking)
        if routing.groups_per_token < routing.groups:
            _mask_groups(routing, ranking, ranking.at(row_bytes))
        with loop(0, routing.choices) as choices:
            chosen = _best(routing.experts, ranking)
            weight = scores.load(F32, chosen * 4)
            if routing.score == "mixer":
                weight = _share(routing, level, scores, ranking, weight)
            ranking.store(constant(F32, _LOWEST), chosen * 4)
            rows["indices"].store(chosen.to(I32), choices.index * 4)
            rows["weights"].store(weight, choices.index * 4)
        _weigh(routing, level, rows["weights"])


def _score(routing: Routing, level: Level, logits: Pointer, scores: Pointer) -> None:
    if routing.score == "softmax":
        _softmax(level, routing.experts, logits, scores)
        return

    def write(group: Group) -> None:
        values = group.load(logits)
        group.store(scores, sigmoid(level, values) if routing.score == "sigmoid" else values)

    each_group(routing.experts, write)


def _softmax(level: Level, features: int, x: Pointer, y: Pointer) -> None:
    """Write the softmax of a row; y may be x."""

    def largest(group: Group, carried: Sequence[Value]) -> Sequence[Value]:
        return [maximum(carried[0], _or_lowest(group, group.load(x)))]

    (lanes,) = fold_groups(features, [constant(VECTOR, _LOWEST)], largest)
    most = splat(reduce_max(lanes), GROUP)

    def add(group: Group, carried: Sequence[Value]) -> Sequence[Value]:
        values = group.keep(exp(level, group.load(x) - most))
        group.store(y, values)
        return [carried[0] + values]

    (sums,) = fold_groups(features, [constant(VECTOR, 0.0)], add)
    _divide(features, y, reduce_add(sums))


def _divide(features: int, x: Pointer, divisor: Value) -> None:
    whole = splat(divisor, GROUP)
    each_group(features, lambda group: group.store(x, group.load(x) / whole))


def _or_lowest(group: Group, values: Value) -> Value:
    """Return `values` with minus infinity beyond the end of the row."""
    inside = iota(_LANES) < group.lanes
    return values if group.lanes == GROUP else select(inside, values, _LOWEST)


def _rank(routing: Routing, scores: Pointer, bias: Pointer | None, ranking: Pointer) -> None:
    """Write what experts are chosen by, minus infinity behind the last."""

    def write(group: Group) -> None:
        values = group.load(scores)
        if bias is not None:
            values = values + group.load(bias)
        Group(group.index).store(ranking, _or_lowest(group, values))

    each_group(routing.experts, write)


def _best(count: int, ranking: Pointer) -> Value:
    """Return the place of the largest of a row, the lowest place among equals; i64."""

    def better(group: Group, carried: Sequence[Value]) -> Sequence[Value]:
        most, places = carried
        values = Group(group.index).load(ranking)
        here = iota(_LANES) + splat(group.index.to(I32), GROUP) * GROUP
        larger = values > most
        return [select(larger, values, most), select(larger, here, places)]

    start = [constant(VECTOR, _LOWEST), iota(_LANES)]
    most, places = fold_groups(count, start, better)
    largest = splat(reduce_max(most), GROUP)
    # Where all are NaN or minus infinity, any place that exists will do.
    candidates = select(most.equals(largest), places, constant(_LANES, count - 1))
    return minimum(reduce(candidates, minimum), count - 1).to(I64)


def _share(
    routing: Routing, level: Level, logits: Pointer, remaining: Pointer, best: Value
) -> Value:
    """Return the softmax of the best among what remains and is near it."""
    most = splat(best, GROUP)

    def add(group: Group, carried: Sequence[Value]) -> Sequence[Value]:
        values, left = group.load(logits), group.load(remaining)
        far = (most - values) / maximum(absolute(values), most) > routing.threshold
        return [
            carried[0] + group.keep(select(far, constant(VECTOR, 0.0), exp(level, left - most)))
        ]

    (sums,) = fold_groups(routing.experts, [constant(VECTOR, 0.0)], add)
    return 1.0 / reduce_add(sums)


def _mask_groups(routing: Routing, ranking: Pointer, totals: Pointer) -> None:
    """Put minus infinity at the experts outside of the best groups."""
    size = routing.experts // routing.groups
    lowest = constant(F32, _LOWEST)
    wide = -(-routing.groups // GROUP) * GROUP
    with loop(0, wide) as each:
        totals.store(lowest, each.index * 4)
    with loop(0, routing.groups) as groups:
        members = ranking.at(groups.index * (4 * size))
        with loop(0, size, carried=[lowest, lowest]) as each:
            first, second = each.carried
            value = members.load(F32, each.index * 4)
            each.carry(maximum(first, value), maximum(second, minimum(first, value)))
        first, second = each.results
        total = first if routing.group_score == "max" else first + second
        totals.store(total, groups.index * 4)
    chosen = totals.at(4 * wide)
    with loop(0, routing.groups) as groups:
        chosen.store(constant(I32, 0), groups.index * 4)
    with loop(0, routing.groups_per_token):
        best = _best(routing.groups, totals)
        totals.store(lowest, best * 4)
        chosen.store(constant(I32, 1), best * 4)
    with loop(0, routing.groups) as groups:
        outside = chosen.load(I32, groups.index * 4).equals(0)
        with when(outside), loop(0, size) as each:
            ranking.store(lowest, (groups.index * size + each.index) * 4)


def _weigh(routing: Routing, level: Level, weights: Pointer) -> None:
    """Turn the scores of the chosen into weights, in place."""
    count = routing.choices
    if routing.score == "softmax_chosen":
        _softmax(level, count, weights, weights)
    if routing.score == "sigmoid_chosen":
        each_group(count, lambda group: group.store(weights, sigmoid(level, group.load(weights))))
    if routing.normalize:
        with loop(0, count, carried=[constant(F32, 0.0)]) as each:
            each.carry(each.carried[0] + weights.load(F32, each.index * 4))
        _divide(count, weights, each.results[0] + routing.eps)
    if routing.scale != 1.0:
        each_group(count, lambda group: group.store(weights, group.load(weights) * routing.scale))
