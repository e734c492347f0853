"""Attention over a paged KV cache: one arithmetic for prefill and decode.

A unit of work is one KV head of one task (up to 8 neighbouring tokens of a sequence).  Its rows go
through the sequence's blocks of 4 pages in order, and each is read once for all of them: scores
with tokens as lanes, the running softmax, then sums of values with features as lanes.  Every row's
operations are the same whatever rows are computed beside it, so its bits are too.
"""

from collections.abc import Callable
from functools import partial

from ingot.targets.cpu.build import I32, I64, Value, constant, loop, select, when
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .attention_block import Block, copy_tail
from .attention_pass import Pass
from .attention_rows import begin_row, each_row, end_row
from .attention_shape import BLOCK_PAGES, TASK_BYTES, AttentionShape, Blocking, blocking_of
from .attention_sight import first_seen, last_seen
from .elementwise_groups import GROUP
from .rounding import strided_slots, symbol


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
    bf16 = shape.dtype == "bfloat16" or shape.sink == "bf16"
    return Kernel(name, slots, partial(_body, shape), bf16=bf16)


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


def _body(shape: AttentionShape, level: Level, arguments: Arguments) -> None:
    with loop(arguments.begin, arguments.end) as units:
        task = arguments.pointer("tasks").at(units.index // shape.kv_heads * TASK_BYTES)
        first, count, position, table = (task.load(I32, 4 * i).to(I64) for i in range(4))
        blocks = arguments.pointer("block_tables").at(table * 4)
        with loop(0, count, shape.pass_tokens) as passes:
            left = count - passes.index
            part = Pass(
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
            each_row(part, partial(begin_row, part))
            _each_block(part)
            each_row(part, partial(end_row, part))


def _each_block(part: Pass) -> None:
    shape, blocking = part.shape, blocking_of(part.shape, part.level)
    rows = part.tokens * shape.group
    last = last_seen(shape, part.position + part.tokens - 1, part.end)
    first = constant(I64, first_seen(shape, part.position))
    pages = first // PAGE_TOKENS, last // PAGE_TOKENS
    copy_tail(part, pages[1], (last & (PAGE_TOKENS - 1)) + 1)
    with loop(pages[0] // BLOCK_PAGES, pages[1] // BLOCK_PAGES + 1) as blocks:
        block = Block(part, blocking, blocks.index, *pages)
        block.enter()
        _cut_rows(blocking, rows, block.update)


def _cut_rows(blocking: Blocking, rows: Value, body: Callable[[Value, int], None]) -> None:
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
