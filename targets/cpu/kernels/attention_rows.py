"""How a row of attention begins, with its query and nothing seen, and how it ends as a result."""

from collections.abc import Callable

from ingot.targets.cpu.build import (
    F32,
    I32,
    Value,
    constant,
    loop,
    maximum,
    narrow_to_bf16,
    reduce_add,
    splat,
    widen_bf16,
)
from ingot.targets.cpu.plan import PAGE_TOKENS

from .attention_pass import Pass
from .attention_products import in_pairs
from .attention_softmax import LOG2_E, LOWEST, query_factor
from .elementwise_groups import GROUP, Group, each_group
from .elementwise_lanes import load_lanes
from .rounding import SINKS, group_bytes_of

_VECTOR = F32.x(16)


def each_row(part: Pass, body: Callable[[Value, Value, Value], None]) -> None:
    """Build `body(row, token, head)` for every row; token and head are its place in q and y."""
    group = part.shape.group
    with loop(0, part.tokens) as tokens, loop(0, group) as heads:
        row = tokens.index * group + heads.index
        body(row, tokens.index, part.head * group + heads.index)


def begin_row(part: Pass, row: Value, token: Value, head: Value) -> None:
    """Put a row into scratch: its query, scaled, and sums over nothing."""
    shape, layout, arguments = part.shape, part.layout, part.arguments
    _load_query(part, row, token, head)
    sums = part.scratch.at(layout.sums).at(row * shape.sum_bytes)
    for chunk in range(shape.value_chunks):
        sums.store(constant(_VECTOR, 0.0), 64 * chunk)
    _begin_softmax(part, row, head)
    position = (part.position + token).to(I32)
    part.scratch.at(layout.positions).at(row * 4).store(position)
    if shape.chunk:
        start = position - position % shape.chunk
        part.scratch.at(layout.chunk_starts).at(row * 4).store(start)
    if shape.slopes:
        slope = arguments.pointer("slopes").at(head * 4).load(F32) * LOG2_E
        part.scratch.at(layout.slopes).at(row * 4).store(slope)


def _load_query(part: Pass, row: Value, token: Value, head: Value) -> None:
    shape, arguments = part.shape, part.arguments
    query = arguments.pointer("q").at((part.token + token) * arguments.integer("q_stride"))
    query = query.at(head * (4 * shape.head_dim))
    queries = part.scratch.at(part.layout.queries).at(row * shape.row_bytes)
    for chunk in range(shape.chunks):
        lanes = min(16, shape.head_dim - 16 * chunk)
        values = load_lanes(query.at(64 * chunk), _VECTOR, lanes) * query_factor(shape)
        if shape.dtype != "bfloat16":
            queries.store(values, 64 * chunk)
            continue
        narrow = narrow_to_bf16(values)
        if in_pairs(shape, part.level):
            queries.store(narrow, 32 * chunk)
        else:
            queries.store(widen_bf16(narrow), 64 * chunk)


def _begin_softmax(part: Pass, row: Value, head: Value) -> None:
    """Let the row have seen nothing, or the sink: a score of its own whose probability is 1."""
    total = [0.0] * PAGE_TOKENS
    largest = constant(F32, LOWEST)
    if part.shape.sinks:
        total[0] = 1.0
        sink = part.arguments.pointer("sinks").at(head * 4).load(F32) * LOG2_E
        largest = maximum(sink, largest)
    layout = part.layout
    part.scratch.at(layout.totals).at(row * 64).store(constant(_VECTOR, total))
    part.scratch.at(layout.largest).at(row * 4).store(largest)


def end_row(part: Pass, row: Value, token: Value, head: Value) -> None:
    """Write a row's result: its sums of values, divided by its sum of probabilities."""
    shape, layout, arguments = part.shape, part.layout, part.arguments
    total = reduce_add(part.scratch.at(layout.totals).at(row * 64).load(_VECTOR))
    factor = splat(1.0 / total, GROUP)
    sums = part.scratch.at(layout.sums).at(row * shape.sum_bytes)
    result = arguments.pointer("y").at((part.token + token) * arguments.integer("y_stride"))
    if shape.sink == "float":
        result = result.at(head * (4 * shape.value_features))
    else:
        group_bytes = group_bytes_of(part.level, shape.sink)
        result = result.at(head * (shape.value_features // GROUP * group_bytes))

    def write(group: Group) -> None:
        # Adding 0 turns -0 into 0: a masked page may have turned the sign of an empty sum.
        SINKS[shape.sink](part.level, result, group, group.load(sums) * factor + 0.0)

    each_group(shape.value_features, write)
