"""Layers of experts, for any routing, in arrays of fixed sizes.

The (token, choice) pairs are sorted by expert, and a loop runs over tiles of rows of one expert,
as many as the routing makes: an expert is read once for every `TILE_ROWS` of its rows, one
without rows never.  The last tile of an expert also makes rows of the next one, which that one
makes again, rightly, as tiles are in order.  Beside x and the result, rows of x and of the results
are held for every pair.
"""

from dataclasses import dataclass

from ingot.ir import Experts, Value
from ingot.targets.xla import hlo
from ingot.targets.xla.hlo import Array

from .context import Context
from .elementwise import ACTIVATIONS
from .matrix import Matrix
from .rounding import rounded

TILE_ROWS = 128
"""Rows of an expert that are multiplied together: as many as a matrix unit has."""


def lower_experts(context: Context, op: Experts) -> None:
    x, choices = context.values[op.x], context.values[op.indices]
    weights = context.values[op.weights]
    tokens, count = choices.shape
    pairs = tokens * count
    if not op.weigh_input:
        # A choice of weight 0 gives nothing: it goes to an expert that there is not.
        choices = hlo.where(weights.equals(0.0), op.experts, choices)
    order = hlo.order_of(choices.reshape(pairs))
    tiles = _Tiles.of(choices.reshape(pairs), op.experts, min(TILE_ROWS, pairs))
    factors = hlo.take(weights.reshape(pairs, 1), order)
    rows = hlo.pad(hlo.take(x, order // count), 0, tiles.rows)
    results = _run_tiles(context, op, rows, hlo.pad(factors, 0, tiles.rows), tiles)[:pairs]
    if not op.weigh_input:
        results = results * factors
    places = hlo.put(hlo.full((pairs,), 0, "i32"), order, hlo.arange(pairs))
    own = hlo.take(results, places).reshape(tokens, count, -1)
    total = own[:, 0]
    for choice in range(1, count):
        total = total + own[:, choice]
    context.values[op.out] = total


@dataclass(frozen=True)
class _Tiles:
    """Tiles of `rows` sorted rows: how many there are, and the experts' ranges `[1, E]` of them.

    `ends` are the numbers of tiles up to and with each expert, `firsts` each expert's first row.
    """

    rows: int
    total: Array
    ends: Array
    own: Array
    firsts: Array

    @classmethod
    def of(cls, owners: Array, experts: int, rows: int) -> "_Tiles":
        numbers = hlo.arange(experts)[None]
        counts = owners[:, None].equals(numbers).astype("i32").sum(0)
        own = (counts + (rows - 1)) // rows
        ends = _running_sum(own)
        return cls(rows, ends[0, experts - 1 :], ends, own, _running_sum(counts) - counts)

    def at(self, number: Array) -> tuple[Array, Array]:
        """Return the expert of a tile and its first row, int32 scalars."""
        before = (self.ends <= number).astype("i32")
        expert = before.sum()
        mine = hlo.arange(self.ends.shape[1])[None].equals(expert)
        first = self.firsts + (number - self.ends + self.own) * self.rows
        return expert.reshape(), hlo.where(mine, first, 0).sum().reshape()


def _running_sum(x: Array) -> Array:
    """Return for `[1, E]` integers the sum of each and all before it."""
    size = x.shape[1]
    before = hlo.arange(size, (size, size), 1) <= hlo.arange(size, (size, size), 0)
    return hlo.where(before, x, 0).sum(1).reshape(1, size)


def _run_tiles(context: Context, op: Experts, rows: Array, factors: Array, tiles: _Tiles) -> Array:
    """Return the experts' results for sorted rows; the last `tiles.rows` are room to overwrite."""
    up, down = context.matrix(op, op.up), context.matrix(op, op.down)
    outputs = down.outputs // op.experts

    def tile(number: Array, results: Array) -> list[Array]:
        expert, first = tiles.at(number)
        x = hlo.window(rows, [first, 0], [tiles.rows, rows.shape[1]])
        projected = _linear(context, up, op.up_bias, expert, op.experts, x)
        if op.weigh_input:
            projected = projected * hlo.window(factors, [first, 0], [tiles.rows, 1])
        hidden = _unit(op, projected)
        hidden = rounded(hidden) if op.round_hidden else hidden
        y = _linear(context, down, op.down_bias, expert, op.experts, hidden)
        return [hlo.put_window(results, y, [first, 0])]

    empty = hlo.full((rows.shape[0], outputs), 0.0)
    return hlo.loop(0, tiles.total, [empty], tile)[0]


def _linear(
    context: Context, w: Matrix, bias: Value | None, expert: Array, experts: int, x: Array
) -> Array:
    """Return x after one expert's part of a matrix that holds all of them one below the other."""
    own = w.part(expert, experts)
    y = own.apply(x)
    if bias is None:
        return y
    return y + hlo.window(context.vector(bias), [expert * own.outputs], [own.outputs])


def _unit(op: Experts, projected: Array) -> Array:
    """Return what lies between the two linears of an expert: see `ExpertUnit`."""
    if not op.gated:
        return _activate(op, projected)
    gate, up = projected[:, : op.hidden], projected[:, op.hidden :]
    if op.limit:
        gate = hlo.minimum(gate, op.limit)
        up = hlo.maximum(hlo.minimum(up, op.limit), -op.limit)
    return _activate(op, gate) * (up + op.up_shift)


def _activate(op: Experts, gate: Array) -> Array:
    if op.alpha != 1.0:
        return gate * hlo.sigmoid(gate * op.alpha)
    return ACTIVATIONS[op.kind](gate)
