"""Rotary position embedding: one table a step, and rotations in place where nobody else reads."""

from ingot.ir import Attention, Op, OpResult, Rope, Slice, Value
from ingot.targets.cpu.kernels.rope import Rotation, rope_kernel, rope_table_kernel
from ingot.targets.cpu.plan import Units
from ingot.targets.expressions import expression_key

from .arguments import View, read, step_input, stride, update
from .context import Context
from .rowwise import launch_rows, name_of, new_result, result, source
from .weights import add_vector


def lower_rope(context: Context, op: Rope) -> None:
    """Lower `lm.rope`; what only the KV cache reads is rotated when it is written there."""
    if _is_key(op):
        context.deferred_ropes[op.out] = op
        return
    x, table = context.views[op.x], table_of(context, op)
    kernel = rope_kernel(op.heads, rotation_of(op))
    tables = {"table": read(table), "table_stride": stride(table)}
    if may_overwrite(op.x):
        context.views[op.out] = x
        places = {"x": update(x), "x_stride": stride(x), "y": update(x), "y_stride": stride(x)}
    else:
        y = new_result(context, op.out, x.rows)
        places = {**source("x", x), **result("y", y)}
    launch_rows(context, op, kernel, {**places, **tables}, x.rows)


def rotation_of(op: Rope) -> Rotation:
    """Return what the kernels must know of a rotation."""
    return Rotation(op.head_dim, op.rotary_dim, op.interleaved, op.offset)


def table_of(context: Context, op: Rope) -> View:
    """Return the step's cosines and sines for the rotation, made at its first use."""
    key = (op.positions, expression_key(op.inv_freq), op.scale)
    if key not in context.rope_tables:
        table = context.new_view(f"{name_of(context, op)}.table", "tokens", op.rotary_dim)
        context.launch(
            f"{len(context.launches)}.rope_table",
            [(None, rope_table_kernel(op.rotary_dim, op.scale))],
            {
                "positions": step_input("positions"),
                "inv_freq": add_vector(context, op.inv_freq),
                **result("table", table),
            },
            rows="tokens",
            units=Units("per_row", 1),
        )
        context.rope_tables[key] = table
    return context.rope_tables[key]


def _is_key(op: Rope) -> bool:
    """Return whether the result is read as keys of attention, and by nothing else.

    Layers that share a cache have the same keys and values, so these are written once.
    """
    uses = list(op.out.uses)
    readers = [use.owner for use in uses]
    return (
        bool(uses)
        and all(isinstance(one, Attention) and one.kv_heads == op.heads for one in readers)
        and all(use.operand_number == 1 for use in uses)
        and len({one.v for one in readers}) == 1
    )


def may_overwrite(value: Value) -> bool:
    """Return whether nothing but its one reader looks at the bytes of a value."""
    owner = value.owner
    if not isinstance(value, OpResult) or not isinstance(owner, Op) or len(list(value.uses)) != 1:
        return False
    if not isinstance(owner, Slice):
        return True
    whole = owner.x
    readers = [use.owner for use in whole.uses]
    if isinstance(whole.owner, Slice) or not all(isinstance(one, Slice) for one in readers):
        return False
    others = [one for one in readers if one.operation != owner.operation]
    return all(
        one.offset + one.size <= owner.offset or owner.offset + owner.size <= one.offset
        for one in others
    )
