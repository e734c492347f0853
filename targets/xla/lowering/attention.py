"""Attention: the step's keys and values go to the pages, then every token attends.

Two forms around one loop over pages (`pages.py`).  A decoding step attends for all its sequences at
once.  Any other step is tasks, each a chunk of the queries of one sequence, one after the other;
how many there are is known only when it runs.

Where the chip has a kernel for it, that takes the place of both.
"""

from ingot.ir import Attention, MergeAttention, PartialAttention
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

from .context import Context
from .pages import LEAST, TINY, Attended, Pages, Queries, Scores, attend
from .pools import AttentionOp
from .ragged_kernel import RaggedKernel

TASK_TOKENS = 128
"""Most queries of a task: as many rows as a matrix unit has."""


def lower_attention(context: Context, op: Attention) -> None:
    kernel = _kernel(context, op)
    if kernel is None or not kernel.fits():
        context.values[op.out] = _attended(context, op, None).values
        return
    number = context.pools.numbers[op.k, op.v]
    _write(context, op, number)
    inputs = context.inputs
    y = kernel(
        context.values[op.q].reshape(*kernel.queries).astype(context.factor),
        context.arrays[number],
        inputs.lengths,
        inputs.block_tables + _first_page(context, number),
        inputs.starts,
        inputs.num_sequences,
    )
    context.values[op.out] = y.reshape(context.shape.tokens, -1).astype("f32")


def _kernel(context: Context, op: Attention) -> RaggedKernel | None:
    """Return the chip's kernel for an attention, None where it has none of that meaning."""
    plain = op.sinks is None and op.slopes is None and op.causal and not op.chunk
    if not plain or op.value_features != op.head_dim:
        return None
    if context.cache.dtype != context.options.compute:
        return None
    pool = context.arrays[context.pools.numbers[op.k, op.v]]
    pages, page_tokens, combined, size = pool.shape
    return RaggedKernel(
        chip=context.options.chip,
        queries=(context.shape.tokens, op.heads, op.head_dim),
        pages=(pages, page_tokens, combined, size),
        tables=(context.shape.sequences, context.shape.blocks),
        dtype=context.options.compute,
        scale=op.scale,
        window=op.window,
        softcap=op.softcap,
    )


def lower_partial_attention(context: Context, op: PartialAttention) -> None:
    attended = _attended(context, op, context.place(op.axis))
    context.values[op.out], context.values[op.lse] = attended.values, attended.lse()


def lower_merge_attention(context: Context, op: MergeAttention) -> None:
    """Lower `lm.merge_attention`: one maximum and one sum over the devices."""
    y, lse = context.values[op.y], context.values[op.lse]
    groups = context.groups(op.axis)
    most = hlo.all_reduce(lse, groups, largest=True)
    weights = hlo.exp(lse - hlo.maximum(most, LEAST))
    heads = y.reshape(y.shape[0], op.heads, -1) * weights[:, :, None]
    both = hlo.concatenate([heads.reshape(*y.shape), weights], 1)
    total = hlo.all_reduce(both, groups)
    sums, whole = total[:, : y.shape[1]], total[:, y.shape[1] :]
    merged = sums.reshape(*heads.shape) / hlo.maximum(whole, TINY)[:, :, None]
    context.values[op.out] = merged.reshape(*y.shape)


def _attended(context: Context, op: AttentionOp, place: Array | None) -> Attended:
    """Return `[T, heads x value]` and what `lse` is made of, `[T, heads]`."""
    number = context.pools.numbers[op.k, op.v]
    _write(context, op, number)
    scores = _scores(context, op, place)
    pages = Pages(
        context.arrays[number],
        context.inputs.block_tables + _first_page(context, number),
        place,
        op.size if isinstance(op, PartialAttention) else 1,
        context.cache.page_tokens,
    )
    q = context.values[op.q].astype(context.factor)
    if context.shape.decode:
        return _decode(context, q, pages, scores)
    return _tasks(context, q, pages, scores)


def _scores(context: Context, op: AttentionOp, place: Array | None) -> Scores:
    sinks = None if op.sinks is None else context.vector(op.sinks)
    if sinks is not None and place is not None:
        # A sink is one key: the first device counts it.
        sinks = hlo.where(place.equals(0), sinks, LEAST)
    return Scores(
        heads=op.heads,
        kv_heads=op.kv_heads,
        head_dim=op.head_dim,
        value_dim=op.value_features,
        scale=op.scale,
        softcap=op.softcap,
        sight=op.sight,
        sinks=sinks,
        slopes=None if op.slopes is None else context.vector(op.slopes),
        factor=context.factor,
    )


def _write(context: Context, op: AttentionOp, number: int) -> None:
    """Put keys and values in their slots, once where several layers attend to them."""
    if (op.k, op.v) in context.kept:
        return
    context.kept.add((op.k, op.v))
    pool = context.arrays[number]
    pages, page_tokens, _, size = pool.shape
    halves = []
    for value, width in ((op.k, op.head_dim), (op.v, op.value_features)):
        heads = context.values[value].reshape(context.shape.tokens, op.kv_heads, width)
        halves.append(hlo.pad(heads, 2, size - width)[:, :, None])
    rows = hlo.concatenate(halves, 2).reshape(context.shape.tokens, 2 * op.kv_heads, size)
    flat = pool.reshape(pages * page_tokens, 2 * op.kv_heads, size)
    slots = context.inputs.slots
    first = _first_page(context, number) * page_tokens
    written = hlo.put(flat, hlo.where(slots < 0, slots, slots + first), rows.astype(pool.dtype))
    context.arrays[number] = written.reshape(*pool.shape)


def _first_page(context: Context, number: int) -> Array:
    """Return the first page of this layer, where layers share an array; an int32 scalar."""
    if context.repeat is None or len(context.pools.pools[number].layers) == 1:
        return hlo.full((), 0, "i32")
    return context.repeat * context.cache.pages


def _decode(context: Context, q: Array, pages: Pages, scores: Scores) -> Attended:
    lengths = context.inputs.lengths
    queries = Queries(q[:, None], (lengths - 1)[:, None], lengths, hlo.arange(lengths.shape[0]))
    return attend(queries, pages, scores)


def _tasks(context: Context, q: Array, pages: Pages, scores: Scores) -> Attended:
    """Attend in tasks of so many queries; the last of a sequence also makes rows of the next one.

    Sequences are in the order of their tokens, so those rows are made again, rightly, by the next.
    """
    tokens, size = context.shape.tokens, min(TASK_TOKENS, context.shape.tokens)
    inputs = context.inputs
    q = hlo.pad(q, 0, size)

    def task(sequence: Array, chunk: Array, *results: Array) -> list[Array]:
        start, end, length = (
            hlo.window(one, [at], [1])
            for one, at in (
                (inputs.starts, sequence),
                (inputs.starts, sequence + 1),
                (inputs.lengths, sequence),
            )
        )
        first = chunk * size
        rows = hlo.window(q, [start + first, 0], [size, q.shape[1]])
        positions = (length - end + start + first) + hlo.arange(size)
        queries = Queries(rows[None], positions[None], length, sequence.reshape(1))
        attended = attend(queries, pages, scores)
        return [
            hlo.put_window(old, new, [start + first, 0])
            for old, new in zip(results, attended.arrays, strict=True)
        ]

    def sequence_tasks(sequence: Array, *results: Array) -> list[Array]:
        ends = hlo.window(inputs.starts, [sequence], [2])
        chunks = (ends[1:] - ends[:1] + (size - 1)) // size
        return hlo.loop(0, chunks, results, lambda chunk, *r: task(sequence, chunk, *r))

    widths = scores.heads * scores.value_dim, scores.heads, scores.heads
    empty = [hlo.full((tokens + size, width), 0.0) for width in widths]
    results = hlo.loop(0, inputs.num_sequences, empty, sequence_tasks)
    return Attended(*(one[:tokens] for one in results))
