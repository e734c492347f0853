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
from ingot.targets.cpu.plan import KvLayer, Units

from .arguments import Argument, read, read_cache, step_input, stride, write_cache
from .context import Context
from .rope import rotation_of, table_of
from .rowwise import launch_rows, name_of, new_result, result, sink_of, source


def lower_attention(context: Context, op: Attention) -> None:
    """Lower `lm.attention`."""
    _refuse_unknown(op)
    index = _pool(context, op)
    rounding = _rounding_of(op.out) if can_round(op.head_dim) else None
    y = new_result(context, rounding.out if rounding else op.out, "tokens")
    if rounding:
        context.done.add(rounding.operation)
    kernel = attention_kernel(
        AttentionShape(
            heads=op.heads,
            kv_heads=op.kv_heads,
            head_dim=op.head_dim,
            dtype=context.kv_dtype,
            scale=op.scale,
            window=op.window,
            softcap=op.softcap,
            sink=sink_of(rounding.out if rounding else op.out),
        )
    )
    arguments = {
        **source("q", context.views[op.q]),
        "pages": read_cache(index),
        "tasks": step_input("tasks"),
        "block_tables": step_input("block_tables"),
        **result("y", y),
    }
    context.launch(
        name_of(context, op),
        [(None, kernel)],
        arguments,
        rows="tokens",
        units=Units("tasks", op.kv_heads),
    )


def _refuse_unknown(op: Attention) -> None:
    plain = op.causal and not op.value_dim and not op.chunk and len(op.operands) == 4
    if not plain:
        raise UnsupportedError(
            "attention that is not causal, or with sinks, slopes, chunks or narrow values",
            where=place_of(op.location) or "step",
            hint="Run the model with the reference executor.",
        )


def _pool(context: Context, op: Attention) -> int:
    """Return the index of the pool that holds the keys and values, written there just once.

    Layers that attend to the keys and values of an earlier one share its pool.
    """
    kept = (op.k, op.v)
    if kept not in context.pools:
        assert all(pool.layer != op.layer for pool in context.pools.values()), (
            f"two attentions have layer {op.layer}"
        )
        layout = KvLayout(context.kv_dtype, op.head_dim)
        sizes = (op.kv_heads, op.head_dim, op.head_dim)
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
