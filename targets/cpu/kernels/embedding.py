"""Embedding: rows of a packed table as float32.

The table has the packing that linear kernels read, so that an output head can share it: a row
is one of 16 lanes, and its elements lie in every fourth byte word of the panel.
"""

from functools import partial

from ingot.ir import Offset
from ingot.targets.cpu.build import F32, I8, I16, I32, I64, Pointer, Value, constant, loop, minimum
from ingot.targets.cpu.kernel import Arguments, Kernel, Slot
from ingot.targets.cpu.levels import Level
from ingot.targets.cpu.packing import GROUP, LANES, IntegerLayout, Packing, packing_named

_QUADS = 8
_QUAD_BYTES = 64
_CODES = I8.x(4)
_FLOATS = F32.x(4)


def embedding_kernel(packing: str, k: int, offset: int = 0) -> Kernel:
    """Return the kernel that gathers rows of `k` features.  A unit is a token.

    Slots: `tokens` (i32 indices of rows, less `offset`), `table`, `y`, `y_stride` (bytes).
    """
    slots = (Slot("tokens"), Slot("table"), Slot("y"), Slot("y_stride", "integer"))
    body = partial(_gather, packing=packing_named(packing), k=k, offset=offset)
    shifted = f"_from{offset}" if offset else ""
    return Kernel(f"embedding_{packing.replace('-', '_')}_k{k}{shifted}", slots, body)


def _gather(level: Level, arguments: Arguments, *, packing: Packing, k: int, offset: int) -> None:
    with loop(arguments.begin, arguments.end) as tokens:
        row = arguments.pointer("tokens").load(I32, tokens.index * 4).to(I64)
        row = row + offset if offset else row
        panel = arguments.pointer("table").at(row // LANES * packing.panel_bytes(k))
        y = arguments.pointer("y").at(tokens.index * arguments.integer("y_stride"))
        lane = row % LANES
        if packing.unpack is not None:
            _gather_unpacked(level, packing, panel, lane, y, k, arguments.scratch)
        elif packing.name == "f32":
            _gather_f32(panel.at(lane * 4), y, k)
        elif packing.name == "bf16":
            _gather_bf16(panel.at(lane * 4), y, k)
        else:
            _gather_groups(level, packing, panel, lane, y, k)


def _gather_unpacked(
    level: Level,
    packing: Packing,
    panel: Pointer,
    lane: Value,
    y: Pointer,
    k: int,
    scratch: Pointer,
) -> None:
    """Unpack the blocks of 16 rows and take one: right for any packing, but 16 times the work."""
    assert packing.unpack is not None
    with loop(0, packing.blocks(k)) as blocks:
        first = blocks.index * packing.span
        packing.unpack(level, panel.at(blocks.index * packing.block_bytes), scratch)
        with loop(0, minimum(constant(I64, k) - first, packing.span)) as each:
            value = scratch.load(F32, each.index * 64 + lane * 4)
            y.store(value, (first + each.index) * 4)


def _gather_f32(column: Pointer, y: Pointer, k: int) -> None:
    with loop(0, k) as each:
        y.store(column.load(F32, each.index * 64), each.index * 4)


def _gather_bf16(column: Pointer, y: Pointer, k: int) -> None:
    # An odd k writes one element of padding, which rows have: they are rounded up to 16.
    with loop(0, -(-k // 2)) as each:
        pair = column.load(I32, each.index * 64)
        for half, bits in enumerate((pair << 16, pair & 0xFFFF0000)):
            y.store(bits.bitcast(F32), each.index * 8 + 4 * half)


def _gather_groups(
    level: Level, packing: Packing, panel: Pointer, lane: Value, y: Pointer, k: int
) -> None:
    full, rest = divmod(k, GROUP)
    with loop(0, full) as groups:
        _gather_group(level, packing, panel, lane, groups.index, y, k, _QUADS)
    if rest:
        _gather_group(level, packing, panel, lane, constant(I64, full), y, k, -(-rest // 4))


def _gather_group(
    level: Level,
    packing: Packing,
    panel: Pointer,
    lane: Value,
    group: Value,
    y: Pointer,
    k: int,
    quads: int,
) -> None:
    """Write the first `quads` quads of a group; they end before the next multiple of 16."""
    layout = packing.layout
    assert layout is not None
    per_block = layout.span // GROUP
    block = panel.at(group // per_block * layout.block_bytes)
    place = group % per_block
    shared = place // layout.groups_per_scale
    if layout.group:
        scale = _half(level, block, lane, shared * layout.scale_bytes + layout.scales_at)
    else:
        tail = packing.panel_bytes(k) - packing.tail_bytes
        scale = panel.load(F32, lane * 4 + tail)
    offset = shared * layout.offset_bytes + layout.offsets_at
    zero = _zero_point(layout, block.at(offset), lane)
    for quad in range(quads):
        codes = _codes(layout, block.at(place * layout.group_bytes + lane * 4), quad)
        value = (codes - zero if layout.bits == 4 else codes) * scale
        if layout.offset is Offset.MINIMUM:
            value = value + _half(level, block, lane, offset)
        y.store(value, group * (4 * GROUP) + 16 * quad)


def _half(level: Level, block: Pointer, lane: Value, offset: Value) -> Value:
    return level.half_to_float(block.load(I16, lane * 2 + offset))


def _zero_point(layout: IntegerLayout, at: Pointer, lane: Value) -> Value:
    """Return the float that is subtracted from the codes of nibbles."""
    if layout.offset is Offset.ZERO_POINT:
        return at.load(I8, lane).to_unsigned(I32).to(F32)
    return constant(F32, 8.0 if layout.offset is Offset.MIDDLE else 0.0)


def _codes(layout: IntegerLayout, at: Pointer, quad: int) -> Value:
    """Return four codes of a row as floats."""
    if layout.bits == 8:
        return (at.load(_CODES, quad * _QUAD_BYTES) ^ 0x80).to(I32).to(F32)
    packed = at.load(_CODES, quad % 4 * _QUAD_BYTES)
    return (packed >> 4 if quad >= 4 else packed & 15).to_unsigned(I32).to(F32)
