"""Writes the keys and values of a step's tokens to the pages of the KV cache.

int8 caches keep one scale max|x| / 127 a token and head.
"""

from collections.abc import Sequence
from functools import partial

from ingot.targets.cpu.build import (
    I8,
    I16,
    I32,
    I64,
    Pointer,
    Value,
    absolute,
    constant,
    loop,
    maximum,
    narrow_to_bf16,
    reduce_max,
)
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.plan import PAGE_TOKENS

from .elementwise_groups import GROUP, VECTOR, Group, each_group, fold_groups, rows_of
from .elementwise_lanes import store_lanes
from .kv_layout import KvLayout
from .rope import Rotation, rotate_head
from .rounding import divisor_of, round_to_scale, strided_slots, symbol


def kv_write_kernel(layout: KvLayout, kv_heads: int, rotation: Rotation | None = None) -> Kernel:
    """Store k and v of every token, k rotated first where a `rotation` is given.

    A unit is a token.  Slots: k, k_stride, v, v_stride, (table, table_stride,) slots (i32:
    page · 16 + place), pages (the layer's pool).
    """
    rotated = rotation.symbol if rotation else ""
    sizes = (layout.head_dim, layout.value_dim or "", kv_heads)
    name = symbol("kv_write", layout.dtype, *sizes, rotated)
    buffers = ("k", "v", "table") if rotation else ("k", "v")
    slots = (*strided_slots(*buffers), Slot("slots"), Slot("pages"))
    return Kernel(name, slots, partial(_body, layout, kv_heads, rotation))


def _body(
    layout: KvLayout,
    kv_heads: int,
    rotation: Rotation | None,
    level: Level,
    arguments: Arguments,
) -> None:
    with rows_of(arguments) as rows, loop(0, kv_heads) as heads:
        slot = arguments.pointer("slots").load(I32, rows.index * 4).to(I64)
        page, place = slot >> 4, slot & (PAGE_TOKENS - 1)
        offset = (page * kv_heads + heads.index) * layout.entry_bytes
        entry = arguments.pointer("pages").at(offset)
        key = rows.row("k").at(heads.index * (4 * layout.head_dim))
        value = rows.row("v").at(heads.index * (4 * layout.value_features))
        if rotation:
            # The first half of the scratch takes the rotated head, the second its stored form.
            staged = arguments.scratch
            rotate_head(level, rotation, key, rows.row("table"), staged)
            key = staged
        key_scale, encoded = None, key
        if layout.dtype != "float32":
            encoded = arguments.scratch.at(4 * layout.head_dim + 4 * GROUP)
            key_scale = _encode(layout, layout.head_dim, key, encoded, whole_groups=True)
        if key_scale is not None:
            _shift_codes(layout, encoded)
        with loop(0, layout.key_words) as words:
            lane = entry.at(words.index * (4 * PAGE_TOKENS)).at(place * 4)
            lane.store(encoded.load(I32, words.index * 4))
        value_scale = _write_value(layout, value, entry.at(layout.values_offset), place, arguments)
        scales = entry.at(layout.scales_offset).at(place * 4)
        for number, scale in enumerate((key_scale, value_scale)):
            if scale is not None:
                scales.store(scale, number * 4 * PAGE_TOKENS)


def _write_value(
    layout: KvLayout, value: Pointer, values: Pointer, place: Value, arguments: Arguments
) -> Value | None:
    """Store the value of the token at `place` of a page; return its scale, if it has one."""
    if layout.step_tokens == 1:
        return _encode(layout, layout.value_features, value, values.at(place * layout.value_bytes))
    encoded, size = arguments.scratch, layout.element_bytes
    _encode(layout, layout.value_features, value, encoded, whole_groups=True)
    pair, half = place >> 1, place & 1
    target = values.at(pair * layout.step_bytes).at(half * size)
    # Another thread may write the other token of the pair: each writes its own bytes alone.
    with loop(0, layout.value_features) as features:
        number = encoded.load(I16, features.index * size)
        target.store(number, features.index * (layout.step_tokens * size))
    return None


def _encode(
    layout: KvLayout, features: int, head: Pointer, target: Pointer, *, whole_groups: bool = False
) -> Value | None:
    """Write a head's `features` in the cache's type, side by side; return the scale, if it has one.

    With `whole_groups` the target has room for whole groups, and zeros follow the features.
    """
    scale = _scale_of(features, head) if layout.dtype == "int8" else None

    def write(group: Group) -> None:
        values = group.load(head)
        if scale is not None:
            values = round_to_scale(values, divisor_of(scale)).to(I8)
        elif layout.dtype == "bfloat16":
            values = narrow_to_bf16(values)
        place = target.at(group.index * (GROUP * layout.element_bytes))
        store_lanes(place, values, GROUP if whole_groups else group.lanes)

    each_group(features, write)
    return scale


def _scale_of(features: int, head: Pointer) -> Value:
    def largest(group: Group, carried: Sequence[Value]) -> Sequence[Value]:
        return [maximum(absolute(group.load(head)), carried[0])]

    (lanes,) = fold_groups(features, [constant(VECTOR, 0.0)], largest)
    return reduce_max(lanes) / 127.0


def _shift_codes(layout: KvLayout, encoded: Pointer) -> None:
    """Turn the signed codes of a key into k + 128."""
    with loop(0, layout.key_words) as words:
        place = encoded.at(words.index * 4)
        place.store(place.load(I32) ^ constant(I32, 0x80808080))
