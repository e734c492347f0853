"""The part of a weight that a device holds: cut as near to the checkpoint as encodings allow.

`lm.shard` commutes with what treats elements, rows or groups alone; so only the bytes of a part are
read where it stands directly on `lm.weight`.
"""

from collections.abc import Callable
from dataclasses import replace

from ingot.ir import (
    AddConstant,
    ArrangeRows,
    Convert,
    ExpertRows,
    Mesh,
    NegExp,
    Op,
    Part,
    Quantize,
    Scale,
    Shard,
    Sharding,
    Transpose,
    Value,
    encoding_of,
    parse_pieces,
    shape_of,
)

from .arrangements import takes_own


def local_weight(value: Value, sharding: Sharding, mesh: Mesh) -> Value:
    """Return the part of a weight expression, built where the insertion point is."""
    for dim, parts in enumerate(sharding.dims):
        for part in parts:
            if part.parts > 1:
                value = _cut(value, dim, part, mesh)
    return value


def can_cut(value: Value, dim: int, part: Part) -> bool:
    """Return whether a dimension divides so, and into whole groups where an encoding has some."""
    size, pieces = shape_of(value)[dim], part.parts * part.blocks
    if size % pieces:
        return False
    encoding = encoding_of(value)
    if encoding is None or not encoding.group or dim < len(shape_of(value)) - 1:
        return True
    return size // pieces % encoding.group == 0


def _cut(value: Value, dim: int, part: Part, mesh: Mesh) -> Value:
    """Return `lm.shard` of a weight, moved in front of the operations that allow it."""
    assert can_cut(value, dim, part), f"{value.type} in {part} along {dim}"
    inner = _inside(value, dim, part)
    if inner is None:
        size, blocks = mesh.size(part.axis), part.blocks
        return Shard(value, axis=part.axis, size=size, parts=part.parts, dim=dim, blocks=blocks).out
    operand, inner_dim, inner_part = inner
    owner: Op = value.owner
    cut = _cut(operand, inner_dim, inner_part, mesh)
    return _REBUILT[type(owner)](owner, cut)


def _inside(value: Value, dim: int, part: Part) -> tuple[Value, int, Part] | None:
    """Return what to cut instead of `value`: operand, dimension and part; None to cut `value`."""
    owner = value.owner
    if type(owner) not in _REBUILT:
        return None
    operand = owner.operands[0]
    inner: tuple[Value, int, Part] | None = (operand, dim, part)
    if isinstance(owner, Transpose):
        inner = (operand, 1 - dim, part)
    elif isinstance(owner, ExpertRows):
        inner = _inside_experts(owner, dim, part)
    elif isinstance(owner, ArrangeRows) and dim == 0:
        inner = _inside_arrangement(owner, part)
    elif isinstance(owner, Quantize) and dim == len(shape_of(value)) - 1:
        # A scale for a whole row depends on all of it.
        encoding = encoding_of(value)
        assert encoding is not None
        inner = inner if encoding.group else None
    if inner is None or not can_cut(*inner):
        return None
    return inner


def _inside_experts(op: ExpertRows, dim: int, part: Part) -> tuple[Value, int, Part] | None:
    """Return the cut of `[E, N, K]` that cuts `[E·N, K]`: whole experts, or rows of each."""
    experts, rows, columns = op.w, 1, 2
    if op.transposed:
        rows, columns = 2, 1
    if dim == 1:
        return experts, columns, part
    count = shape_of(op.w)[0]
    if part.blocks == 1 and count % part.parts == 0:
        return experts, 0, part
    blocks, rest = divmod(part.blocks, count)
    if rest:
        return None
    if not op.interleaved:
        return experts, rows, Part(part.axis, part.parts, blocks)
    # Gates and ups alternate, so that a run of rows has as many of each.
    return (experts, rows, Part(part.axis, part.parts)) if blocks == 2 else None


def _inside_arrangement(op: ArrangeRows, part: Part) -> tuple[Value, int, Part] | None:
    """Return the cut of rows of which each head takes its own, or of a run of them."""
    rows, pieces = shape_of(op.w)[0], parse_pieces(op.pieces)
    if part.blocks > 1:
        return None
    if op.heads > 1:
        width = rows // op.heads
        by_heads = rows % op.heads == 0 and all(takes_own(piece, width) for piece in pieces)
        return (op.w, 0, part) if by_heads and op.heads % part.parts == 0 else None
    (piece, *others) = pieces
    if others or piece.step != 1 or rows % piece.size or piece.offset % piece.size:
        return None
    # A device has its part of every run of that length, this one among them.
    return op.w, 0, Part(part.axis, part.parts, rows // piece.size)


def _arranged_rows(op: ArrangeRows, cut: Value) -> Value:
    ratio, pieces = shape_of(op.w)[0] // shape_of(cut)[0], parse_pieces(op.pieces)
    if ratio == 1 or op.heads > 1:
        return ArrangeRows(cut, heads=op.heads // ratio, pieces=pieces).out
    run = replace(pieces[0], offset=pieces[0].offset // ratio, size=pieces[0].size // ratio)
    return ArrangeRows(cut, heads=1, pieces=(run,)).out


def _expert_rows(op: ExpertRows, cut: Value) -> Value:
    return ExpertRows(cut, transposed=op.transposed, interleaved=op.interleaved).out


def _quantized(op: Quantize, cut: Value) -> Value:
    encoding = encoding_of(op.out)
    assert encoding is not None
    return Quantize(cut, encoding).out


_REBUILT: dict[type, Callable[..., Value]] = {
    ArrangeRows: _arranged_rows,
    AddConstant: lambda op, cut: AddConstant(cut, constant=op.constant).out,
    Convert: lambda op, cut: Convert(cut, op.out.type.element_type).out,
    ExpertRows: _expert_rows,
    NegExp: lambda op, cut: NegExp(cut).out,
    Quantize: _quantized,
    Scale: lambda op, cut: Scale(cut, factor=op.factor).out,
    Transpose: lambda op, cut: Transpose(cut).out,
}
"""Operations that a cut may pass, and how each is built on what was cut."""
