"""Attention: the step's keys and values go to the cache, then every token attends.

A rotation of the keys that nothing but the cache reads is done while they are written; a rounding
of the result is done by the attention itself where groups of 32 do not straddle heads.
"""

from ingot.errors import UnsupportedError
from ingot.ir import Attention, Round, Value, place_of
from ingot.targets.cpu.kernels.attention import attention_kernel, can_round
from ingot.targets.cpu.kernels.attention_shape import AttentionShape
from ingot.targets.cpu.kernels.kv_layout import KvLayout
from ingot.targets.cpu.kernels.kv_write import kv_write_kernel
from ingot.targets.cpu.kernels.rounding import SinkKind
from ingot.targets.cpu.plan import KvLayer, Units

from .arguments import Argument, read, read_cache, step_input, stride, write_cache
from .context import Context
from .rope import rotation_of, table_of
from .rowwise import launch_rows, name_of, new_result, result, sink_of, source
from .weights import add_vector


def lower_attention(context: Context, op: Attention) -> None:
    """Lower `lm.attention`; raises `UnsupportedError` for heads too large for scratch."""
    rounding = _rounding_of(op.out) if can_round(op.value_features) else None
    shape = _shape(context, op, sink_of(rounding.out) if rounding else "float")
    index = _pool(context, op, shape.layout)
    y = new_result(context, rounding.out if rounding else op.out, "tokens")
    if rounding:
        context.done.add(rounding.operation)
    given = {"sinks": op.sinks, "slopes": op.slopes}
    vectors = {name: value for name, value in given.items() if value is not None}
    arguments = {
        **source("q", context.views[op.q]),
        "pages": read_cache(index),
        "tasks": step_input("tasks"),
        "block_tables": step_input("block_tables"),
        **{name: add_vector(context, value) for name, value in vectors.items()},
        **result("y", y),
    }
    context.launch(
        name_of(context, op),
        [(None, attention_kernel(shape))],
        arguments,
        rows="tokens",
        units=Units("tasks", op.kv_heads),
    )


def _shape(context: Context, op: Attention, sink: SinkKind) -> AttentionShape:
    shape = AttentionShape(
        heads=op.heads,
        kv_heads=op.kv_heads,
        head_dim=op.head_dim,
        dtype=context.kv_dtype,
        scale=op.scale,
        window=op.window,
        softcap=op.softcap,
        sink=sink,
        value_dim=op.value_dim,
        causal=op.causal,
        chunk=op.chunk,
        sinks=op.sinks is not None,
        slopes=op.slopes is not None,
    )
    if not shape.pass_tokens:
        raise UnsupportedError(
            f"{shape.group} query heads of {op.head_dim} features share a KV head: "
            "a token's heads do not fit into the memory that a thread has",
            where=place_of(op.location) or "step",
            hint="Give a model with fewer or smaller heads for each KV head.",
        )
    return shape


def _pool(context: Context, op: Attention, layout: KvLayout) -> int:
    """Return the index of the pool that holds the keys and values, written there just once.

    Layers that attend to the keys and values of an earlier one share its pool.
    """
    kept = (op.k, op.v)
    if kept not in context.pools:
        assert all(pool.layer != op.layer for pool in context.pools.values()), (
            f"two attentions have layer {op.layer}"
        )
        sizes = (op.kv_heads, op.head_dim, op.value_features)
        pool = KvLayer(op.layer, *sizes, layout.page_bytes(op.kv_heads))
        _write_cache(context, op, layout, len(context.pools))
        context.pools[kept] = pool
    return list(context.pools).index(kept)


def _write_cache(context: Context, op: Attention, layout: KvLayout, index: int) -> None:
    rope = context.deferred_ropes.get(op.k)
    keys = context.views[rope.x if rope else op.k]
    arguments: dict[str, Argument] = {**source("k", keys), **source("v", context.views[op.v])}
    if rope:
        table = table_of(context, rope)
        arguments |= {"table": read(table), "table_stride": stride(table)}
    arguments |= {"slots": step_input("slots"), "pages": write_cache(index)}
    kernel = kv_write_kernel(layout, op.kv_heads, rotation_of(rope) if rope else None)
    launch_rows(context, op, kernel, arguments, "tokens")


def _rounding_of(value: Value) -> Round | None:
    """Return the rounding that is the only reader of a value."""
    readers = [use.owner for use in value.uses]
    if len(readers) == 1 and isinstance(readers[0], Round):
        return readers[0]
    return None
