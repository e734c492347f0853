"""Attention over a paged KV cache: one arithmetic for prefill and decode.

A unit of work is one KV head of one task (up to 8 neighbouring tokens of a sequence).  Its rows go
through the sequence's pages in order, and each page is read once for all of them: scores with
tokens as lanes, the running softmax, then sums of values with features as lanes.  Every row's
operations are the same whatever rows are computed beside it, so its bits are too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ingot.targets.cpu.build import (
    F32,
    I32,
    I64,
    Pointer,
    Value,
    constant,
    loop,
    maximum,
    reduce_add,
    select,
    splat,
    when,
)
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .attention_scores import scores_of
from .attention_shape import TASK_BYTES, AttentionShape, Blocking, ScratchLayout, blocking_of
from .attention_sight import Scorer, first_seen, last_seen
from .attention_softmax import LOG2_E, LOWEST, query_factor, softmax_page
from .attention_values import add_values
from .elementwise_groups import GROUP, Group, each_group
from .elementwise_lanes import load_lanes
from .rounding import ROUNDED_GROUP_BYTES, SINKS, strided_slots, symbol

_VECTOR = F32.x(16)
# A page's lines are more than a core can have under way to its first cache; measured on Zen 4, the
# second takes them at nearly twice the rate.
_TO_SECOND_CACHE = 2


def can_round(value_dim: int) -> bool:
    """Whether attention can write rounded rows: groups of 32 must not straddle heads."""
    return value_dim % GROUP == 0


def attention_kernel(shape: AttentionShape) -> Kernel:
    """`lm.attention` on keys and values that are already in the cache.

    Units are tasks · kv_heads; unit i is KV head i % kv_heads of task i / kv_heads.  Slots: q,
    q_stride, pages (the layer's pool), tasks, block_tables, (sinks,) (slopes,) y, y_stride; strides
    in bytes.
    """
    assert shape.sink == "float" or can_round(shape.value_features)
    assert shape.pass_tokens, f"{shape.group} heads of {shape.head_dim} features do not fit"
    heads = (shape.heads, shape.kv_heads, shape.head_dim)
    name = symbol("attention", *heads, shape.dtype, shape.scale, *_options(shape))
    vectors = [name for name in ("sinks", "slopes") if getattr(shape, name)]
    inputs = [Slot(name) for name in ("pages", "tasks", "block_tables", *vectors)]
    slots = (*strided_slots("q"), *inputs, *strided_slots("y"))
    return Kernel(name, slots, partial(_body, shape))


def _options(shape: AttentionShape) -> tuple[str | float, ...]:
    """Return what tells kernels of the same heads, type and scale apart."""
    return (
        f"window{shape.window}" if shape.window else "",
        shape.softcap or "",
        f"values{shape.value_dim}" if shape.value_dim else "",
        "" if shape.causal else "all",
        f"chunk{shape.chunk}" if shape.chunk else "",
        "sinks" if shape.sinks else "",
        "slopes" if shape.slopes else "",
        shape.sink,
    )


@dataclass(frozen=True, eq=False)
class _Pass:
    """Tokens of one task whose rows are in scratch together, and one KV head."""

    shape: AttentionShape
    level: Level
    arguments: Arguments
    head: Value
    token: Value
    tokens: Value
    position: Value
    table: Pointer
    task: Pointer

    @property
    def layout(self) -> ScratchLayout:
        return ScratchLayout(self.shape)

    @property
    def scratch(self) -> Pointer:
        return self.arguments.scratch

    def end(self) -> Value:
        """Return the number of tokens of the sequence, i32."""
        return self.task.load(I32, 16)

    def entry(self, page: Value) -> Pointer:
        """Return the address of this head's part of the sequence's page number `page`."""
        number = self.table.load(I32, page * 4).to(I64)
        offset = (number * self.shape.kv_heads + self.head) * self.shape.layout.entry_bytes
        return self.arguments.pointer("pages").at(offset)


def _body(shape: AttentionShape, level: Level, arguments: Arguments) -> None:
    with loop(arguments.begin, arguments.end) as units:
        task = arguments.pointer("tasks").at(units.index // shape.kv_heads * TASK_BYTES)
        first, count, position, table = (task.load(I32, 4 * i).to(I64) for i in range(4))
        blocks = arguments.pointer("block_tables").at(table * 4)
        with loop(0, count, shape.pass_tokens) as passes:
            left = count - passes.index
            part = _Pass(
                shape,
                level,
                arguments,
                units.index % shape.kv_heads,
                first + passes.index,
                select(left < shape.pass_tokens, left, shape.pass_tokens),
                position + passes.index,
                blocks,
                task,
            )
            _each_row(part, partial(_begin_row, part))
            _each_page(part)
            _each_row(part, partial(_end_row, part))


def _each_row(part: _Pass, body: Callable[[Value, Value, Value], None]) -> None:
    """Build `body(row, token, head)` for every row; token and head are its place in q and y."""
    group = part.shape.group
    with loop(0, part.tokens) as tokens, loop(0, group) as heads:
        row = tokens.index * group + heads.index
        body(row, tokens.index, part.head * group + heads.index)


def _begin_row(part: _Pass, row: Value, token: Value, head: Value) -> None:
    shape, layout, arguments = part.shape, part.layout, part.arguments
    query = arguments.pointer("q").at((part.token + token) * arguments.integer("q_stride"))
    query = query.at(head * (4 * shape.head_dim))
    queries = part.scratch.at(layout.queries).at(row * shape.row_bytes)
    sums = part.scratch.at(layout.sums).at(row * shape.sum_bytes)
    for chunk in range(shape.chunks):
        lanes = min(16, shape.head_dim - 16 * chunk)
        values = load_lanes(query.at(64 * chunk), _VECTOR, lanes)
        queries.store(values * query_factor(shape), 64 * chunk)
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


def _begin_softmax(part: _Pass, row: Value, head: Value) -> None:
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


def _end_row(part: _Pass, row: Value, token: Value, head: Value) -> None:
    shape, layout, arguments = part.shape, part.layout, part.arguments
    total = reduce_add(part.scratch.at(layout.totals).at(row * 64).load(_VECTOR))
    factor = splat(1.0 / total, GROUP)
    sums = part.scratch.at(layout.sums).at(row * shape.sum_bytes)
    result = arguments.pointer("y").at((part.token + token) * arguments.integer("y_stride"))
    if shape.sink == "rounded":
        result = result.at(head * (shape.value_features // GROUP * ROUNDED_GROUP_BYTES))
    else:
        result = result.at(head * (4 * shape.value_features))

    def write(group: Group) -> None:
        # Adding 0 turns -0 into 0: a masked page may have turned the sign of an empty sum.
        SINKS[shape.sink](result, group, group.load(sums) * factor + 0.0)

    each_group(shape.value_features, write)


def _each_page(part: _Pass) -> None:
    shape, blocking = part.shape, blocking_of(part.shape, part.level)
    rows = part.tokens * shape.group
    last = part.position + part.tokens - 1
    last = last_seen(shape, last, lambda: part.end().to(I64))
    first = first_seen(shape, part.position)
    with loop(first >> 4, (last >> 4) + 1) as pages:
        following = pages.index + 1
        following = select(following * PAGE_TOKENS > last, pages.index, following)
        entries = (part.entry(pages.index), part.entry(following))
        page = _Page(part, blocking, pages.index, last, *entries)
        _each_block(blocking, rows, page.update)


def _each_block(blocking: Blocking, rows: Value, body: Callable[[Value, int], None]) -> None:
    """Cut rows into blocks of the sizes that there are, largest first."""
    done: Value = constant(I64, 0)
    for number, size in enumerate(blocking.rows):
        end = rows - (rows - done) % size
        if number == 0:
            with loop(done, end, size) as blocks:
                body(blocks.index, size)
        else:
            with when(done < end):
                body(done, size)
        done = end


@dataclass(frozen=True, eq=False)
class _Page:
    """One page of a pass up to position `last`; `ahead` is the entry of the next one."""

    part: _Pass
    blocking: Blocking
    index: Value
    last: Value
    entry: Pointer
    ahead: Pointer

    def update(self, row: Value, rows: int) -> None:
        """Let `rows` rows from `row` on see the page."""
        part, shape, level = self.part, self.part.shape, self.part.level
        layout, scratch = part.layout, part.scratch
        queries = scratch.at(layout.queries).at(row * shape.row_bytes)
        self._prefetch_scales()
        scores = list(scores_of(shape, level, queries, self.entry, rows, self._prefetch_key))
        first = (self.index * PAGE_TOKENS).to(I32)
        scorer = Scorer(shape, level, scratch, first, part.end)
        scales = self.entry.at(shape.layout.scales_offset)
        for number in range(rows):
            if shape.dtype == "int8":
                scores[number] = scores[number] * scales.load(_VECTOR)
            scores[number] = scorer.scores(scores[number], row, number)
        probabilities = softmax_page(layout, level, scratch, row, scores)
        for number, values in enumerate(probabilities):
            if shape.dtype == "int8":
                values = values * scales.load(_VECTOR, 4 * PAGE_TOKENS)
            scratch.store(values, layout.probabilities + 64 * number)
        self._add_values(row, rows)

    def _add_values(self, row: Value, rows: int) -> None:
        part, shape, layout = self.part, self.part.shape, self.part.layout
        places = (
            part.scratch.at(layout.sums).at(row * shape.sum_bytes),
            part.scratch.at(layout.factors),
            part.scratch.at(layout.probabilities),
            self.entry.at(shape.layout.values_offset),
        )
        left = self.last + 1 - self.index * PAGE_TOKENS
        tokens = select(left < PAGE_TOKENS, left, PAGE_TOKENS)
        add_values(shape, part.level, self.blocking, places, rows, tokens, self._prefetch_value)

    def _prefetch_key(self, word: Value) -> None:
        self.ahead.prefetch(word * (4 * PAGE_TOKENS), _TO_SECOND_CACHE)

    def _prefetch_value(self, token: Value) -> None:
        layout = self.part.shape.layout
        value = self.ahead.at(layout.values_offset).at(token * layout.value_bytes)
        for line in range(0, layout.value_bytes, 64):
            value.prefetch(line, _TO_SECOND_CACHE)

    def _prefetch_scales(self) -> None:
        layout = self.part.shape.layout
        if layout.dtype == "int8":
            for offset in range(layout.scales_offset, layout.entry_bytes, 64):
                self.ahead.prefetch(offset, _TO_SECOND_CACHE)
