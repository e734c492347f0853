"""Rotates the features of the residual stream, so that no single one is far larger than the rest.

Activations of a real model have a few features tens of times as large as the others, and these set
the scale by which a whole row is rounded to integers.  An RMS norm commutes with an orthogonal
matrix R once its scale has moved into the linears behind it; so R is folded into every weight that
makes or reads the stream, and no operation is added (SliceGPT, Ashkboos et al., 2024; QuaRot,
Ashkboos et al., 2024).  The values of every attention's heads are rotated in the same way.
"""

from dataclasses import dataclass
from typing import ClassVar

from ingot.ir import (
    Convert,
    Experts,
    F32Type,
    Fill,
    Linear,
    Module,
    Rotate,
    ScaleColumns,
    Value,
    before,
    columns_of,
    encoding_of,
    shape_of,
)

from .core import Contract, Pass, erase_dead, option, read_instead, rounding, step_block
from .rotating import Stream, find_stream, turned_heads


@dataclass(frozen=True)
class RotatePass(Pass):
    """Rotate the residual stream and the values of heads by orthogonal matrices in the weights.

    For models with RMS norms only, before `quantize`.  A table that serves as embedding and as head
    becomes two weights, since the scale of the last norm goes into the head alone.
    """

    # The same function of real numbers, but weights stored in 16 bits are widened to float32 only.
    contract: ClassVar[Contract] = rounding(1e-6)

    seed: int = option(0, help="which of the rotations, from 0", minimum=0)
    heads: bool = option(True, help="rotate the values of attention heads as well")

    def run(self, module: Module) -> None:
        block = step_block(module)
        stream = find_stream(block)
        turned = turned_heads(block) if self.heads else []
        self._rotate_stream(stream)
        for each in turned:
            _rotate_rows(each.maker, each.size, self.seed + 1)
            for reader in each.readers:
                _rotate_columns(reader, None, each.size, self.seed + 1)
        erase_dead(block)

    def _rotate_stream(self, stream: Stream) -> None:
        for table in stream.tables:
            with before(table):
                plain = _float(table.table)
                size = columns_of(plain)
                rotated = Rotate(plain, dim=1, size=size, seed=self.seed).out
            read_instead(table, table.table, rotated)
        for writer in stream.writers:
            _rotate_rows(writer, columns_of(writer.out), self.seed)
        for reader, scale in stream.readers.items():
            _rotate_columns(reader, scale, columns_of(reader.x), self.seed)
        for norm in stream.norms:
            with before(norm):
                ones = Fill(norm.w.context, value=1.0, size=shape_of(norm.w)[0]).out
            read_instead(norm, norm.w, ones)


def _rotate_rows(op: Linear | Experts, size: int, seed: int) -> None:
    """Let `op` make blocks of `size` features rotated."""
    if isinstance(op, Linear):
        weights = (op.w, op.bias)
    else:
        weights = (op.down, op.down_bias)
    for weight in weights:
        if weight is not None:
            with before(op):
                rotated = Rotate(_float(weight), dim=0, size=size, seed=seed).out
            read_instead(op, weight, rotated)


def _rotate_columns(op: Linear | Experts, scale: Value | None, size: int, seed: int) -> None:
    """Let `op` take rotated features that `scale` has not multiplied."""
    weight = op.w if isinstance(op, Linear) else op.up
    with before(op):
        plain = _float(weight)
        if scale is not None:
            plain = ScaleColumns(plain, scale).out
        rotated = Rotate(plain, dim=1, size=size, seed=seed).out
    read_instead(op, weight, rotated)


def _float(weight: Value) -> Value:
    """Return `weight` decoded, itself where it is not encoded."""
    if encoding_of(weight) is None:
        return weight
    return Convert(weight, F32Type.get(weight.context)).out
