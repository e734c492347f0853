"""Linear attention by the gated delta rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ingot.targets.cpu.build import (
    F32,
    Pointer,
    Value,
    constant,
    loop,
    reduce_add,
    splat,
    square_root,
)
from ingot.targets.cpu.kernel import Arguments, Kernel
from ingot.targets.cpu.levels import Level

from .activation_functions import exp
from .elementwise_groups import GROUP, VECTOR, Group, each_group, fold_groups
from .rounding import symbol
from .states import FLOAT, Columns, Span, spans_of, state_slots

L2_EPSILON = 1e-6


@dataclass(frozen=True)
class DeltaShape:
    """`heads` states of `key_dim` rows and `value_dim` columns; q and k have `key_heads` heads.

    Where `decays_rows`, g has a number for each row.
    """

    heads: int
    key_heads: int
    key_dim: int
    value_dim: int
    scale: float
    normalize: bool
    decays_rows: bool

    @property
    def columns(self) -> Columns:
        """The columns of a state, which are the lanes."""
        return Columns(self.value_dim)

    @property
    def parts(self) -> int:
        """Units of work a sequence: the blocks of all heads."""
        return self.heads * self.columns.blocks

    @property
    def part_bytes(self) -> int:
        """Bytes of the state of one unit: a block of columns for each row."""
        return self.key_dim * self.columns.block_bytes

    @property
    def staged_bytes(self) -> int:
        """Bytes of a row of scratch for one head of q, k or g."""
        return FLOAT * GROUP * -(-self.key_dim // GROUP)


def delta_rule_kernel(shape: DeltaShape) -> Kernel:
    """`lm.delta_rule`.  Units: `shape.parts` a sequence; state of `part_bytes` for each.

    Slots: q, q_stride, k, k_stride, v, v_stride, g, g_stride, beta, beta_stride, y, y_stride,
    state, sequences.
    """
    options = ("unit" if shape.normalize else "", "rows" if shape.decays_rows else "")
    sizes = (shape.heads, shape.key_heads, shape.key_dim, shape.value_dim, shape.scale)
    name = symbol("delta_rule", *sizes, *options)
    slots = state_slots("q", "k", "v", "g", "beta", "y", weights=())
    return Kernel(name, slots, partial(_body, shape))


def _body(shape: DeltaShape, level: Level, arguments: Arguments) -> None:
    columns = shape.columns
    with spans_of(arguments, shape.parts) as span:
        state = span.state(shape.parts * shape.part_bytes, shape.part_bytes)
        head, block = span.part // columns.blocks, span.part % columns.blocks
        with loop(0, span.count) as tokens:
            staged = _stage(shape, level, span, tokens.index, head)
            value_bytes = head * (FLOAT * shape.value_dim)
            v = columns.load(span.row("v", tokens.index).at(value_bytes), block)
            beta = span.row("beta", tokens.index).load(F32, head * FLOAT)
            y = _update(shape, level, state, staged, v, beta)
            columns.store(span.row("y", tokens.index).at(value_bytes), block, y)


@dataclass(frozen=True, eq=False)
class _Staged:
    """q and k of a token's head as they are used, and the decay: one, or in memory one a row."""

    q: Pointer
    k: Pointer
    decay: Value | Pointer

    def decay_of(self, row: Value) -> Value:
        """Return the decay of a row."""
        if isinstance(self.decay, Value):
            return self.decay
        return self.decay.load(F32, row * FLOAT)


def _stage(shape: DeltaShape, level: Level, span: Span, token: Value, head: Value) -> _Staged:
    key_bytes = head // (shape.heads // shape.key_heads) * (FLOAT * shape.key_dim)
    scratch = span.arguments.scratch
    q, k, decays = (scratch.at(index * shape.staged_bytes) for index in range(3))
    _prepare(shape, level, span.row("q", token).at(key_bytes), q, shape.scale)
    _prepare(shape, level, span.row("k", token).at(key_bytes), k, 1.0)
    g = span.row("g", token)
    if not shape.decays_rows:
        return _Staged(q, k, exp(level, g.load(F32, head * FLOAT)))
    rows = g.at(head * (FLOAT * shape.key_dim))
    each_group(shape.key_dim, lambda group: _put(group, decays, exp(level, group.load(rows))))
    return _Staged(q, k, decays)


def _prepare(
    shape: DeltaShape, level: Level, source: Pointer, target: Pointer, scale: float
) -> None:
    """Copy a head of q or k, scaled, and brought to length 1 before where that is asked for."""
    factor = constant(F32, scale)
    if shape.normalize:

        def add(group: Group, carried: Sequence[Value]) -> Sequence[Value]:
            values = group.load(source)
            return [level.fma(values, values, carried[0])]

        (lanes,) = fold_groups(shape.key_dim, [constant(VECTOR, 0.0)], add)
        factor = factor / square_root(reduce_add(lanes) + L2_EPSILON)
    spread = splat(factor, GROUP)
    each_group(shape.key_dim, lambda group: _put(group, target, group.load(source) * spread))


def _put(group: Group, target: Pointer, values: Value) -> None:
    """Store a whole group: the scratch has room behind the last feature."""
    target.at(group.index * (FLOAT * GROUP)).store(values)


def _update(
    shape: DeltaShape, level: Level, state: Pointer, staged: _Staged, v: Value, beta: Value
) -> Value:
    """Decay the state, write what of v it does not know yet, and return what q reads of it."""
    columns, zero = shape.columns, constant(v.type, 0.0)
    with loop(0, shape.key_dim, carried=[zero]) as rows:
        decay = splat(staged.decay_of(rows.index), columns.lanes)
        value = state.load(v.type, rows.index * columns.block_bytes) * decay
        k = staged.k.load_splat(v.type, rows.index * FLOAT)
        rows.carry(level.fma(value, k, rows.carried[0]))
    delta = (v - rows.results[0]) * splat(beta, columns.lanes)
    with loop(0, shape.key_dim, carried=[zero]) as rows:
        place = state.at(rows.index * columns.block_bytes)
        kept = place.load(v.type) * splat(staged.decay_of(rows.index), columns.lanes)
        value = level.fma(delta, staged.k.load_splat(v.type, rows.index * FLOAT), kept)
        place.store(value)
        q = staged.q.load_splat(v.type, rows.index * FLOAT)
        rows.carry(level.fma(value, q, rows.carried[0]))
    return rows.results[0]
